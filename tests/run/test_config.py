from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.defaults import ROOT
from mlsys.run import config


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_slug_is_a_directory_name(one: str, other: str) -> None:
    name = config.slug(one)
    assert 0 < len(name) <= 100
    assert Path(name).name == name
    assert (config.slug(other) == name) == (one == other)


def test_slugs_of_ordinary_overrides_read_as_typed() -> None:
    assert config.slug("metric=l2,size=1e6") == "metric=l2,size=1e6"
    assert config.slug("data.x=/a/b.npy").startswith("data.x=_a_b.npy-")
    assert config.slug("").startswith("default-")


def test_outputs_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSYS_OUTPUTS", "elsewhere")
    assert config.outputs() == "elsewhere"
    monkeypatch.delenv("MLSYS_OUTPUTS")
    assert config.outputs() == str(ROOT / "outputs")
