"""data=random: reproducible, independent, the same however it is read."""

from __future__ import annotations

import pytest
import torch

from mlsys.distance.data.random import BLOCK, Random


def test_the_seed_decides_and_the_two_vectors_differ() -> None:
    x, y = Random().open(3_000, torch.float32, 7)
    again, _ = Random().open(3_000, torch.float32, 7)
    other, _ = Random().open(3_000, torch.float32, 8)
    assert torch.equal(x.tensor(), again.tensor())
    assert not torch.equal(x.tensor(), y.tensor())
    assert not torch.equal(x.tensor(), other.tensor())
    assert x.description == "standard normal, seed 7"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_numbers_are_standard_normal(dtype: torch.dtype) -> None:
    x, y = Random().open(200_000, dtype, 0)
    a, b = x.tensor().double(), y.tensor().double()
    assert abs(float(a.mean())) < 0.02
    assert abs(float(a.std()) - 1) < 0.02
    assert abs(float((a * b).mean())) < 0.02
    assert x.nan_count() == 0


def test_int8_uses_its_whole_range() -> None:
    x, _ = Random().open(20_000, torch.int8, 0)
    assert (int(x.tensor().min()), int(x.tensor().max())) == (-127, 127)


def test_longer_vectors_begin_the_same_and_pieces_are_the_whole() -> None:
    short, _ = Random().open(BLOCK, torch.float32, 1)
    long, _ = Random().open(BLOCK + 5, torch.float32, 1)
    piece = torch.empty(10)
    long.read(BLOCK - 5, BLOCK + 5, piece)
    assert torch.equal(piece, long.tensor()[BLOCK - 5 :])
    assert torch.equal(long.tensor()[:BLOCK], short.tensor())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int8], ids=str)
def test_a_part_is_drawn_alone_and_is_what_the_whole_has_there(dtype: torch.dtype) -> None:
    n = 2 * BLOCK + 1_001
    whole, _ = Random().open(n, dtype, 3)
    for start, stop in ((0, n // 3), (n // 3, 2 * n // 3), (2 * n // 3, n), (BLOCK, BLOCK), (7, 8)):
        part = Random().open(n, dtype, 3)[0].part(start, stop)
        assert part.n == stop - start == len(part.tensor())
        assert torch.equal(part.tensor(), whole.tensor()[start:stop])
        inner = part.part(0, part.n // 2)
        assert torch.equal(inner.tensor(), part.tensor()[: part.n // 2])
