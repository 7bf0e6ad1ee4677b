from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys import config
from mlsys.errors import UserError


@pytest.mark.parametrize(("value", "n"), [(1e6, 10**6), (1.0, 1), (1_000_000, 10**6), (2**40, 2**40)])
def test_whole_numbers_are_counts(value: float, n: int) -> None:
    assert config.whole("size", value) == n


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "size=1.5 is not a whole number"),
        (-1, "size=-1 must be at least 1"),
        (0, "size=0 must be at least 1"),
        (float("inf"), "size=inf is not a whole number"),
        (float("nan"), "size=nan is not a whole number"),
    ],
)
def test_what_is_no_count_is_named(value: float, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        config.whole("size", value)


@pytest.mark.parametrize(
    ("text", "amount"), [("256MiB", 2**28), ("1GiB", 2**30), ("1.5 kib", 1536), ("2GB", 2 * 10**9), ("7", 7)]
)
def test_amounts_of_memory(text: str, amount: int) -> None:
    assert config.parse_bytes("memory_budget", text) == amount


@pytest.mark.parametrize("text", ["", "much", "1XB", "-1MiB", "0", "0.1B"])
def test_what_is_no_amount_of_memory_is_named(text: str) -> None:
    with pytest.raises(UserError, match=f"memory_budget={text}"):
        config.parse_bytes("memory_budget", text)


def test_amounts_are_written_for_people() -> None:
    assert config.format_bytes(8e9) == "7.451 GiB"
    assert config.format_bytes(512) == "512 B"


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
    assert config.outputs() == str(config.ROOT / "outputs")
