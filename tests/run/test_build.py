"""What `build` refuses."""

from __future__ import annotations

import pytest

from mlsys.errors import UserError
from mlsys.run import build


def test_a_search_does_not_leave_files_out_in_silence() -> None:
    with pytest.raises(
        UserError, match=r"^data=file does not go with workload=search, which draws its own rows"
    ):
        build.search({"workload": "search", "data": {"name": "file"}})
