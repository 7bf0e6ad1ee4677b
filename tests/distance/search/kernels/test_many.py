"""Many neighbours, and neighbours that lie close together: against a float64 search, interpreted or compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlsys.distance.language import why_not
from mlsys.distance.search.held import Held, scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels.choosing import choose_many, choose_shared
from mlsys.distance.search.kernels.launch import compiled
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.tiles import MOST_LANES, Tile, second_choices, smaller_groups
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference

METRICS = sorted(RANKINGS)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.skipif(why_not(DEVICE) is not None, reason="needs Triton"),
    pytest.mark.slow,  # in the interpreter
]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "count", "k"), [(torch.float16, 1, 150), (torch.float32, 2, 40)])
def test_many_neighbours_are_what_a_float64_search_finds(
    metric: str, dtype: torch.dtype, count: int, k: int
) -> None:
    rows, queries = normal(1500, 12, seed=1, dtype=dtype), normal(count, 12, seed=2, dtype=dtype)
    index = Index(rows.to(DEVICE), metric, method="kernels")
    distances, found = index.search(queries.to(DEVICE), k)
    wanted, numbers = reference(queries, rows, k, metric)
    assert index.doubtful == 0
    np.testing.assert_array_equal(found.cpu().numpy(), numbers)
    np.testing.assert_allclose(distances.cpu().numpy(), wanted, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("metric", ["dot", "l1"])
def test_a_hundred_near_copies_of_each_row_cost_a_second_choice_and_no_reading_of_all_rows(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.nn.functional.normalize(
        normal(180, 8, seed=3).repeat(100, 1) + 2e-5 * normal(18000, 8, seed=4)
    )
    queries = torch.nn.functional.normalize(normal(1, 8, seed=5))
    index = Index(rows.half().to(DEVICE), metric, method="kernels")
    monkeypatch.setattr(Held, "_certain", None)  # all rows would be read
    found = index.search(queries.half().to(DEVICE), 10)[1]
    assert index.doubtful >= 1
    np.testing.assert_array_equal(found.cpu().numpy(), reference(queries.half(), rows.half(), 10, metric)[1])


@pytest.mark.parametrize(
    ("groups", "m"), [(300, 40), (3000, 70), (40, 40), (2500, 1), (20_000, 30), (70_000, 50)]
)
def test_the_best_groups_are_those_of_a_sort_whatever_is_equal(groups: int, m: int) -> None:
    maxima = normal(4, groups, seed=6)
    maxima[1] = (10 * maxima[1]).round()
    maxima[3] = torch.where(maxima[3] > 0, 0.0, -0.0)
    maxima[2, m + 5 :] = -torch.inf
    for way in (choose_many, choose_shared):
        chosen, cut = way(maxima.to(DEVICE), m)
        for line, numbers, limit in zip(maxima, chosen.cpu().long(), cut.cpu(), strict=True):
            taken = numbers[numbers >= 0]
            most = m if groups <= MOST_LANES else m + m // 8 + 8
            assert m <= len(set(taken.tolist())) == len(taken) <= most
            left = line.clone()
            left[taken] = -torch.inf
            assert (limit == torch.inf and groups > MOST_LANES) or line[taken].min() >= limit >= left.max()


def test_where_too_many_groups_are_as_good_as_the_last_nothing_is_certain() -> None:
    chosen, cut = choose_shared(torch.ones(1, 20_000, device=DEVICE), 30)
    assert cut.tolist() == [torch.inf]
    assert len(set(chosen[0].tolist())) == 41


def test_ties_of_any_number_go_to_the_lower_rows() -> None:
    few = normal(4, 12, seed=7)
    rows = few[torch.arange(4000) % 4].to(DEVICE)
    index = Index(rows, "l2", method="kernels")
    _, found = index.search(few[:1].to(DEVICE), 600)
    np.testing.assert_array_equal(found.cpu().numpy(), reference(few[:1], rows.cpu(), 600, "l2")[1])


def test_groups_are_as_large_as_balances_what_is_written_and_what_is_read_again() -> None:
    tile = Tile(64, 256, 64, 8, 4, 4)  # groups of 32

    def members(queries: int, taken: int, rows: int) -> int:
        return tile.BN // smaller_groups(tile, tile, queries, taken, rows, 768).CLASSES

    shapes = ((16, 10**6), (125, 10**6), (1250, 10**6), (125, 10**4), (2560, 10**7))
    assert [members(64, *shape) for shape in shapes] == [32, 8, 4, 1, 32]
    # one query: as few groups as one program chooses among
    assert [members(1, *shape) for shape in ((125, 10**5), (1250, 10**5), (125, 10**6))] == [8, 1, 8]


def test_how_many_more_groups_are_looked_into() -> None:
    assert second_choices(16, 100_000) == [128, 1024]
    assert second_choices(16, 300) == [128]
    assert second_choices(16, 40) == []


def test_an_index_learns_that_its_rows_lie_close_together() -> None:
    rows = normal(100, 8, seed=6).to(DEVICE)
    search = KernelSearch(rows, "dot", scorer_of(rows, "dot"))
    assert search.tile(1, 5) == Tile(1, 64, 128, 1, 8, 1)
    assert search.tile(1, 100) == Tile(1, 64, 128, 64, 8, 1)
    seen = []
    for doubtful, count in [*[(1, 1)] * 40, (0, 1000), (256, 256), (0, 1000)]:
        search.learn(doubtful, count)
        seen.append(search.close)
    assert seen == [False] * 41 + [True] * 2  # what the first choice would leave in doubt is no longer seen
    assert search.tile(1, 5) == Tile(1, 64, 128, 64, 8, 1)


def test_equal_rows_come_by_their_number_also_among_many() -> None:
    rows = normal(200, 8, seed=10).repeat(3, 1).half().to(DEVICE)
    queries = normal(2, 8, seed=11).half().to(DEVICE)
    found = Index(rows, "dot", method="kernels").search(queries, 140)[1]
    np.testing.assert_array_equal(found.cpu().numpy(), reference(queries, rows, 140, "dot")[1])


def test_searches_of_a_class_of_k_and_of_dim_share_their_kernels() -> None:
    def kernels_after(dim: int, k: int) -> int:
        rows, queries = normal(700, dim, seed=8).half().to(DEVICE), normal(1, dim, seed=9).half().to(DEVICE)
        found = Index(rows, "dot", method="kernels").search(queries, k)[1]
        np.testing.assert_array_equal(found.cpu().numpy(), reference(queries, rows, k, "dot")[1])
        return compiled.cache_info().currsize

    compiled.cache_clear()  # so that it is not full
    few = kernels_after(256, 3)
    assert [kernels_after(*one) for one in ((256, 8), (384, 1), (640, 5))] == [few] * 3
    many = kernels_after(256, 12)
    assert many > few
    assert [kernels_after(*one) for one in ((256, 11), (384, 15))] == [many] * 2


def test_warming_an_index_leaves_nothing_to_compile_for_lines_in_doubt() -> None:
    rows = torch.nn.functional.normalize(normal(30, 8, seed=3).repeat(20, 1) + 2e-5 * normal(600, 8, seed=4))
    compiled.cache_clear()
    index = Index(rows.half().to(DEVICE), "dot", method="kernels")
    index.warm(queries=2, k=3)
    warmed = compiled.cache_info().currsize
    index.search(rows[:2].half().to(DEVICE), 3)
    assert index.doubtful
    assert compiled.cache_info().currsize == warmed
