from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mlsys.errors import UserError
from mlsys.loadtest.lengths import Lengths


def drawn(output_tokens: Any, count: int = 20_000, seed: int = 1) -> list[int]:
    length = Lengths(output_tokens).drawn(seed)
    return [tokens for number in range(count) if (tokens := length(number)) is not None]


def test_without_lengths_the_generator_decides() -> None:
    assert Lengths(None).longest is None
    assert drawn(None, 10) == []


def test_two_numbers_are_every_whole_number_between_them_equally_often() -> None:
    counts = Counter(drawn([8, 12]))
    assert sorted(counts) == [8, 9, 10, 11, 12]
    assert all(abs(count / 4000 - 1) < 0.1 for count in counts.values())
    assert Lengths([8, 128]).longest == 128


def test_longer_lists_are_quantiles_at_equal_steps() -> None:
    lengths = drawn([8, 20, 128])
    assert (min(lengths), max(lengths), Lengths([8, 20, 128]).longest) == (8, 128, 128)
    assert np.percentile(lengths, 50) == pytest.approx(20, abs=1)
    assert np.percentile(lengths, 25) == pytest.approx(14, abs=1)


def test_a_geometric_length_has_its_mean_and_a_longest_one() -> None:
    lengths = drawn("geometric:64")
    assert min(lengths) == 1
    assert np.mean(lengths) == pytest.approx(64, rel=0.05)
    assert max(lengths) == Lengths("geometric:64").longest == 439
    assert set(drawn("geometric:1", 100)) == {1}


def test_one_number_is_the_length_of_all() -> None:
    assert set(drawn(64, 100)) == {64}


def test_a_requests_length_depends_on_seed_and_number_alone() -> None:
    once, again, other = (Lengths([8, 128]).drawn(seed) for seed in (3, 3, 4))
    assert [once(i) for i in range(3000)] == [again(i) for i in reversed(range(3000))][::-1]
    assert [once(i) for i in range(20)] != [other(i) for i in range(20)]


@pytest.mark.parametrize(
    "wrong",
    [
        0,
        -3,
        True,
        [],
        [8, 0],
        [128, 8],
        [8.5, 9],
        "geometric:",
        "geometric:0.5",
        "geometric:nan",
        "poisson:3",
        2e6,
    ],
)
def test_what_is_no_form_is_named_with_the_forms(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"^loadtest\.output_tokens=.* is none of: null, a number, \[8,128\]"):
        Lengths(wrong)
