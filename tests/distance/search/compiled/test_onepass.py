"""One pass over the rows proposes what sorting all scores proposes, and the answer is a float64 search's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlsys.distance.search.compiled import loop, onepass
from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.errors import UserError

METRICS = sorted(RANKINGS)
TILES = [(6, 16), (12, 16)]  # each is one more to compile; the others are met below


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("queries", "dim", "k"), [(1, 40, 10), (1, 3, 5), (5, 33, 1), (70, 17, 60)])
def test_the_answer_is_that_of_a_float64_search(metric: str, queries: int, dim: int, k: int) -> None:
    rows, some = normal(1501, dim, seed=1), normal(queries, dim, seed=2)
    index = Index(rows, metric, method="compiled")
    distances, numbers = index.search(some, k)
    wanted, expected = reference(some, rows, k, metric)
    np.testing.assert_array_equal(numbers.numpy(), expected)
    np.testing.assert_allclose(distances.numpy(), wanted, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("tile", TILES)
def test_every_tile_proposes_the_best_scores_and_their_least(
    tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also tiles for registers that this machine has not."""
    monkeypatch.setattr(onepass, "_tile", lambda _: tile)
    rows, queries = normal(900, 21, seed=3), normal(2, 21, seed=4)
    scorer = scorer_of(rows, "cosine")
    found = onepass.OnePass(scorer).propose(queries, 40)
    assert found is not None
    assert found.cut is not None
    scores = scorer.block(queries, 0, len(rows))
    values, places = scores.topk(40)
    assert torch.equal(found.index.sort(1).values, places.sort(1).values)
    torch.testing.assert_close(found.cut, values[:, -1].double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "queries"), [(torch.float16, 1), (torch.bfloat16, 3), (torch.int8, 1)])
def test_rows_of_fewer_bytes_are_widened_on_the_way(dtype: torch.dtype, queries: int) -> None:
    rows, some = (normal(1203, 37, seed=5) * 20).to(dtype), normal(queries, 37, seed=6)
    _, numbers = Index(rows, "l2", method="compiled").search(some, 9)
    np.testing.assert_array_equal(numbers.numpy(), reference(some, rows.float(), 9, "l2")[1])


def test_rows_in_ascending_order_pass_all_the_way_and_equal_ones_come_by_their_number() -> None:
    rows = torch.arange(4000.0).div(7, rounding_mode="floor")[:, None].expand(-1, 4).contiguous()
    for metric in ("dot", "l2"):
        _, numbers = Index(rows, metric, method="compiled").search(torch.full((2, 4), 600.0), 20)
        np.testing.assert_array_equal(
            numbers.numpy(), reference(torch.full((2, 4), 600.0), rows, 20, metric)[1]
        )


def test_what_one_pass_is_not_made_for_goes_by_blocks() -> None:
    rows = normal(2000, 4, seed=7)
    rows[:1900] = 0
    index = Index(rows, "cosine", method="compiled")
    for queries, k in ((rows[-2:], 150), (rows[-2:], 1500), (rows[-2:].double(), 3), (rows[:1], 3)):
        _, numbers = index.search(queries, k)
        np.testing.assert_array_equal(numbers.numpy(), reference(queries, rows, k, "cosine")[1])
    with pytest.raises(UserError, match="method=compiled searches on a CPU, with Numba, and no float64 rows"):
        Index(rows.double(), method="compiled")


def test_auto_compiles_where_there_are_rows_enough() -> None:
    few = normal(200, 8, seed=8)
    assert Index(few).method == "blocks"
    assert Index(few.repeat(1000, 1)).method == "compiled"
    assert Index(few.repeat(1000, 1).double()).method == "blocks"


@pytest.mark.parametrize("m", [1, 5, 20, 64])
def test_the_best_come_to_the_front(m: int) -> None:
    scores = normal(64, seed=9).round(decimals=1).numpy()
    numbers = np.arange(64)
    kept, places = scores.copy(), numbers.copy()
    least = loop.keep_best(kept, places, m)
    assert sorted(kept[:m], reverse=True) == sorted(scores, reverse=True)[:m]
    assert least == min(kept[:m])
    np.testing.assert_array_equal(scores[places], kept)


def test_warming_takes_the_kinds_of_searches_there_will_be() -> None:
    rows = normal(1500, 8, seed=10)
    for method in ("compiled", "blocks"):
        index = Index(rows, method=method)
        index.warm(queries=(1, 3), k=[2, 10])
        with pytest.raises(UserError, match="queries=0 must be at least 1"):
            index.warm(queries=0)
        with pytest.raises(UserError, match="k=1501 must be from 1 to the number of rows, 1500"):
            index.warm(k=1501)
