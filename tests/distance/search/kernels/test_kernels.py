"""The kernels, interpreted or compiled, against a float64 search; and that they know their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.distance import distance
from mlsys.distance.language import why_not
from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.rescore import pair_keys
from mlsys.distance.search.kernels.tiles import Tile
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.errors import UserError

METRICS = sorted(RANKINGS)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = Tile(16, 64, 16, 8, 4, 2)
pytestmark = [
    pytest.mark.skipif(why_not(DEVICE) is not None, reason="needs Triton"),
    pytest.mark.slow,  # in the interpreter
]


def kernels(rows: torch.Tensor, metric: str) -> KernelSearch:
    rows = rows.to(DEVICE)
    return KernelSearch(rows, metric, scorer_of(rows, metric))


def searched(
    search: KernelSearch, queries: torch.Tensor, k: int, tile: Tile | None = None
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    found = search.nearest(queries.to(DEVICE), k, tile)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return found.keys.cpu(), found.index.cpu(), found.status.tolist()


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("count", [1, 5])
def test_certain_lines_are_what_a_float64_search_finds(metric: str, dtype: torch.dtype, count: int) -> None:
    rows, queries = normal(700, 40, seed=1, dtype=dtype), normal(count, 40, seed=2, dtype=dtype)
    tile = None if count == 1 or metric == "l1" else SMALL
    keys, index, status = searched(kernels(rows, metric), queries, 4, tile)
    wanted, numbers = reference(queries, rows, 4, metric)
    assert status == [0] * count
    np.testing.assert_array_equal(index.numpy(), numbers)
    key = {"l2": wanted**2, "dot": -wanted}.get(metric, wanted)
    np.testing.assert_allclose(keys.numpy(), key, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_come_by_their_number(metric: str) -> None:
    few = normal(12, 20, seed=3)
    rows = few[torch.arange(500) % 12]
    distances, index = Index(rows.to(DEVICE), metric, method="kernels").search(few[:3].to(DEVICE) + 0.1, 60)
    wanted, numbers = reference(few[:3] + 0.1, rows, 60, metric)
    np.testing.assert_array_equal(index.cpu().numpy(), numbers)
    np.testing.assert_allclose(distances.cpu().numpy(), wanted, rtol=1e-6, atol=1e-13)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_small_whole_numbers_full_of_ties(data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(["l2", "l1", "dot"]))
    count, dim = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 33))
    k = data.draw(st.integers(1, min(count, 128)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9999)))
    rows = torch.randint(-2, 3, (count, dim), generator=generator).half()
    queries = torch.randint(-2, 3, (data.draw(st.integers(1, 3)), dim), generator=generator).half()
    _, index = Index(rows.to(DEVICE), metric, method="kernels").search(queries.to(DEVICE), k)
    np.testing.assert_array_equal(index.cpu().numpy(), reference(queries, rows, k, metric)[1])


@pytest.mark.parametrize("metric", METRICS)
def test_both_ways_to_a_key_give_the_same_bits(metric: str) -> None:
    """Or equal rows of which one was found by the kernels and one by the second look would not tie."""
    rows, queries = normal(900, 40, seed=14).to(DEVICE), normal(1, 40, seed=15).to(DEVICE)
    found = kernels(rows, metric).nearest(queries, 20)
    line = torch.zeros(20, dtype=torch.int64, device=DEVICE)
    assert torch.equal(pair_keys(metric, queries, rows, line, found.index[0]), found.keys[0])


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(("count", "dim"), [(1, 384), (5, 100), (40, 384), (300, 1536)])
def test_every_tile_and_the_second_look_give_a_key_the_same_bits(
    metric: str, dtype: torch.dtype, count: int, dim: int
) -> None:
    rows = normal(5000, dim, seed=16, dtype=dtype).to(DEVICE)
    queries = normal(count, dim, seed=17, dtype=dtype).to(DEVICE)
    found = kernels(rows, metric).nearest(queries, 10)
    line = torch.arange(count, device=DEVICE).repeat_interleave(10)
    again = pair_keys(metric, queries, rows, line, found.index.flatten())
    assert torch.equal(again.view(count, 10), found.keys)


@pytest.mark.gpu
def test_int8_rows_are_searched_in_blocks_and_the_kernels_refuse_them() -> None:
    whole = torch.randint(-128, 128, (4000, 24), generator=torch.Generator().manual_seed(18)).to(torch.int8)
    rows = whole.to(DEVICE)
    with pytest.raises(UserError, match="method=kernels take no int8 rows; use method=blocks or auto"):
        Index(rows, method="kernels")
    for metric in METRICS:
        index = Index(rows, metric)
        _, numbers = index.search(rows[:9], 20)
        assert index.method == "blocks"
        np.testing.assert_array_equal(
            numbers.cpu().numpy(), reference(whole[:9].float(), whole.float(), 20, metric)[1]
        )
        _, numbers = Index(rows.float(), metric).search(rows[:9], 20)
        np.testing.assert_array_equal(
            numbers.cpu().numpy(), reference(whole[:9].float(), whole.float(), 20, metric)[1]
        )


@pytest.mark.gpu
def test_what_lies_on_the_gpu_may_be_negated_or_come_through_dlpack() -> None:
    class Exported:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __dlpack__(self, **words: object) -> object:
            return self.tensor.__dlpack__(**words)  # type: ignore[arg-type]

        def __dlpack_device__(self) -> object:
            return self.tensor.__dlpack_device__()

    rows = normal(3000, 16, seed=19).to(DEVICE)
    view = torch.complex(torch.zeros_like(rows), -rows).conj().imag
    assert view.is_neg()
    assert not rows.is_neg()
    wanted = Index(rows).search(rows[:3], 4)
    for form in (view, Exported(rows)):
        distances, numbers = Index(form).search(form[:3] if form is view else Exported(rows[:3]), 4)
        assert (distances.is_cuda, torch.equal(distances, wanted[0]), torch.equal(numbers, wanted[1])) == (
            True,
        ) * 3
    assert torch.equal(distance(view[0], view[1]), distance(rows[0], rows[1]))
    assert torch.equal(distance(Exported(rows[0]), Exported(rows[1])), distance(rows[0], rows[1]))


def test_queries_wider_than_the_rows_are_searched_as_they_are() -> None:
    """Scored in float16 they are other queries: the answer must be that of the float32 ones."""
    rows, queries = normal(600, 24, seed=5, dtype=torch.float16), normal(4, 24, seed=6)
    _, index = Index(rows.to(DEVICE), "l2", method="kernels").search(queries.to(DEVICE), 5)
    np.testing.assert_array_equal(index.cpu().numpy(), reference(queries, rows, 5, "l2")[1])


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_near_duplicates_leave_the_kernels_in_doubt_and_the_index_right(metric: str) -> None:
    rows = 1000 + 1e-3 * normal(600, 16, seed=7)
    queries = 1000 + 1e-3 * normal(2, 16, seed=8)
    if metric != "l1":
        assert searched(kernels(rows, metric), queries, 3)[2] == [1, 1]
    _, index = Index(rows.to(DEVICE), metric, method="kernels").search(queries.to(DEVICE), 3)
    np.testing.assert_array_equal(index.cpu().numpy(), reference(queries, rows, 3, metric)[1])


INTERPRETED_NAN = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@INTERPRETED_NAN
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, 1e30])
def test_queries_beyond_the_bounds_are_never_certain(value: float) -> None:
    queries = torch.full((1, 8), value, device=DEVICE)
    search = kernels(normal(3000, 8, seed=9), "cosine")
    assert searched(search, queries, 2)[2] == [1]


@INTERPRETED_NAN
def test_not_finite_queries_are_refused() -> None:
    index = Index(normal(300, 8, seed=10).to(DEVICE), "l2", method="kernels")
    with pytest.raises(UserError, match="queries hold nan or infinity"):
        index.search(torch.full((1, 8), torch.nan, device=DEVICE), 2)


def test_more_neighbours_than_the_kernels_take_and_float64_go_another_way() -> None:
    rows = normal(400, 8, seed=11, dtype=torch.float64)
    for dtype, k in ((torch.float32, 200), (torch.float64, 3)):
        _, index = Index(rows.to(dtype).to(DEVICE), "l2", method="kernels").search(
            rows[:2].to(dtype).to(DEVICE), k
        )
        np.testing.assert_array_equal(
            index.cpu().numpy(), reference(rows[:2].to(dtype), rows.to(dtype), k, "l2")[1]
        )


@pytest.mark.parametrize("tile", [Tile(16, 64, 16, 8, 4, 2, tma=True), Tile(16, 64, 16, 8, 4, 2, programs=1)])
def test_every_way_to_load_and_to_loop(tile: Tile) -> None:
    rows, queries = (
        normal(500, 48, seed=12, dtype=torch.float16),
        normal(20, 48, seed=13, dtype=torch.float16),
    )
    _, index, status = searched(kernels(rows, "l2"), queries, 3, tile)
    assert status == [0] * 20
    np.testing.assert_array_equal(index.numpy(), reference(queries, rows, 3, "l2")[1])


def test_an_unknown_method_is_said() -> None:
    with pytest.raises(UserError, match="method=fast must be one of auto, kernels, compiled, blocks"):
        Index(torch.ones(2, 2), method="fast")


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("count", [1, 64, 300])
def test_real_sizes_on_the_device(metric: str, dtype: torch.dtype, count: int) -> None:
    generator = torch.Generator("cuda").manual_seed(count)
    rows = torch.randn(150_001, 384, device="cuda", generator=generator).to(dtype)
    queries = torch.randn(count, 384, device="cuda", generator=generator).to(dtype)
    _, index = Index(rows, metric).search(queries, 10)
    for line in range(0, count, 50):
        keys = RANKINGS[metric].keys(queries[line].double(), rows.double())
        wanted = torch.sort(keys, stable=True).indices[:10]
        assert torch.equal(index[line], wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_kernels_vouch_for_ordinary_data(dtype: torch.dtype) -> None:
    rows = torch.randn(500_000, 384, device="cuda").to(dtype)
    queries = torch.randn(256, 384, device="cuda").to(dtype)
    for metric in METRICS:
        assert sum(searched(kernels(rows, metric), queries, 10)[2]) == 0
