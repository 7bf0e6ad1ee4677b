from __future__ import annotations

import os

import pytest

from mlsys import quantities
from mlsys.errors import UserError


@pytest.mark.parametrize(("value", "n"), [(1e6, 10**6), (1.0, 1), (1_000_000, 10**6), (2**40, 2**40)])
def test_whole_numbers_are_counts(value: float, n: int) -> None:
    assert quantities.whole("size", value) == n


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
        quantities.whole("size", value)


@pytest.mark.parametrize(
    ("text", "amount"), [("256MiB", 2**28), ("1GiB", 2**30), ("1.5 kib", 1536), ("2GB", 2 * 10**9), ("7", 7)]
)
def test_amounts_of_memory(text: str, amount: int) -> None:
    assert quantities.parse_bytes("memory_budget", text) == amount


@pytest.mark.parametrize("text", ["", "much", "1XB", "-1MiB", "0", "0.1B"])
def test_what_is_no_amount_of_memory_is_named(text: str) -> None:
    with pytest.raises(UserError, match=f"memory_budget={text}"):
        quantities.parse_bytes("memory_budget", text)


def test_amounts_are_written_for_people() -> None:
    assert quantities.format_bytes(8e9) == "7.451 GiB"
    assert quantities.format_bytes(512) == "512 B"


def test_libraries_yet_to_be_imported_are_told_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    quantities.limit_threads(2)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "2"
