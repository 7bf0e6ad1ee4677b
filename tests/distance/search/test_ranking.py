"""A key is a value of one query and one row: nothing around them changes a bit of it."""

from __future__ import annotations

import pytest
import torch

from mlsys.distance.search import search
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.threads import torch_threads

METRICS = sorted(RANKINGS)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 3, 8, 17, 1000, 32_768, 40_001, 150_528])
def test_a_key_does_not_depend_on_how_many_are_computed_with_it_nor_on_the_threads(
    metric: str, dim: int
) -> None:
    generator = torch.Generator().manual_seed(dim)
    x, y = torch.randn(2, dim, generator=generator, dtype=torch.float64)
    keys = RANKINGS[metric].keys
    found = set()
    for threads in (1, 2, 3):
        with torch_threads(threads):
            for count in (1, 2, 5):
                rows = y.repeat(count, 1)
                found |= set(keys(x, rows).tolist())
                found |= set(keys(x.repeat(count, 1), rows).tolist())
                found |= set(keys(x.repeat(2, 1, 1), rows.repeat(2, 1, 1)).flatten().tolist())
    assert len(found) == 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [40_000, 150_528])
def test_equal_long_rows_come_by_their_number_wherever_a_chunk_of_pairs_ends(metric: str, dim: int) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(1, dim, generator=generator).repeat(5, 1)
    for queries in (1, 11):
        _, index = search(torch.randn(queries, dim, generator=generator), rows, 5, metric)
        assert index.tolist() == [[0, 1, 2, 3, 4]] * queries
