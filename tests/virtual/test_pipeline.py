from __future__ import annotations

import pytest
from sections import made

from mlsys.errors import UserError
from mlsys.virtual.pipeline import Bare


def test_an_engine_alone_embeds_nothing_and_says_whose_time_it_is() -> None:
    bare = Bare(made("generator/simulated"))
    with pytest.raises(UserError, match="embed"):
        bare.embed(["a"], passages=False)
    assert bare.describe()["clock"] == "virtual"
