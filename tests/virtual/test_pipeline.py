from __future__ import annotations

import pytest
from sections import made

from mlsys.errors import UserError
from mlsys.virtual.cost import Overheads
from mlsys.virtual.pipeline import Bare, Library


def test_an_engine_alone_embeds_nothing_and_says_whose_time_it_is() -> None:
    bare = Bare(made("generator/simulated"), Library([]), Overheads(), lambda seconds: None)
    with pytest.raises(UserError, match="embed"):
        bare.embed(["a"], passages=False)
    assert bare.describe()["clock"] == "virtual"
