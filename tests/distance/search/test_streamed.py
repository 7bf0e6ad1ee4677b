"""A search chunk by chunk gives what a search at once gives, ties across chunks included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.errors import UserError

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
BUDGET = 1500 * (3 * 8 * 4 + 24)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", sorted(RANKINGS))
def test_chunks_give_what_the_whole_gives(metric: str, device: str) -> None:
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(700, 8, generator=generator)
    rows = few[torch.randint(0, 700, (7000,), generator=generator)]
    queries = torch.randn(5, 8, generator=generator)
    index = StreamedIndex(rows, metric, device, BUDGET)
    assert 1000 <= index.chunk < 3000
    distances, found = index.search(queries, 40)
    wanted, numbers = reference(queries, rows, 40, metric)
    np.testing.assert_array_equal(found.numpy(), numbers)
    np.testing.assert_allclose(distances.numpy(), wanted, rtol=1e-6, atol=1e-13)


def test_more_neighbours_than_a_chunk_has_rows() -> None:
    rows = torch.randn(3000, 8, generator=torch.Generator().manual_seed(2))
    _, found = StreamedIndex(rows, "l2", "cpu", 1000 * (2 * 8 * 4 + 24)).search(rows[:2], 2500)
    np.testing.assert_array_equal(found.numpy(), reference(rows[:2], rows, 2500, "l2")[1])


def test_a_memory_mapped_file_is_searched_where_it_lies(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).standard_normal((4000, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    index = StreamedIndex(np.load(tmp_path / "rows.npy", mmap_mode="r"), "dot", "cpu", BUDGET)
    _, found = index.search(rows[:3], 4)
    np.testing.assert_array_equal(found, reference(rows[:3], rows, 4, "dot")[1])


def test_a_budget_too_small_is_said() -> None:
    with pytest.raises(UserError, match="memory_budget=4096 holds 46 rows of 88 bytes: 1000 are the least"):
        StreamedIndex(torch.ones(5000, 8), "l2", "cpu", 4096)


@pytest.mark.gpu
def test_a_database_of_many_pieces_and_chunks() -> None:
    rows = torch.randn(400_000, 128).half()
    queries = rows[::40_000].clone()
    index = StreamedIndex(rows, "l2", "cuda", 64 << 20)
    assert index.chunk < 150_000
    distances, found = index.search(queries, 3)
    assert found[:, 0].tolist() == list(range(0, 400_000, 40_000))
    assert float(distances[:, 0].max()) == 0.0
    assert torch.equal(found, StreamedIndex(rows, "l2", "cuda", 1 << 30).search(queries, 3)[1])
