"""The search against a float64 search of every row: to the index, with ties, near-ties and hostile values."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.distance.metrics.cosine import Cosine
from mlsys.distance.metrics.dot import Dot
from mlsys.distance.metrics.l1 import L1
from mlsys.distance.search import Index, search
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.errors import UserError

METRICS = sorted(RANKINGS)


def finds_as_float64(queries: torch.Tensor, rows: torch.Tensor, k: int, metric: str) -> bool:
    """Whether the search's answer is a float64 search's: dtypes, every number, distances to 1e-6."""
    distances, index = search(queries, rows, k, metric)
    wanted, numbers = reference(queries, rows, k, metric)
    wide = torch.float64 in (queries.dtype, rows.dtype)
    assert distances.dtype == (torch.float64 if wide else torch.float32)
    assert index.dtype == torch.int64
    np.testing.assert_array_equal(index.numpy(), numbers)
    np.testing.assert_allclose(distances.numpy(), wanted, rtol=1e-6, atol=1e-13)
    return True


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_finds_what_a_float64_search_finds(metric: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(20000, 48, generator=generator).to(dtype)
    assert finds_as_float64(torch.randn(9, 48, generator=generator).to(dtype), rows, 10, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("count", "k"), [(1, 1), (7, 7), (100, 99), (5000, 1), (9001, 700), (3000, 3000)])
def test_every_k_and_ragged_counts(metric: str, count: int, k: int) -> None:
    generator = torch.Generator().manual_seed(count)
    assert finds_as_float64(
        torch.randn(2, 33, generator=generator), torch.randn(count, 33, generator=generator), k, metric
    )


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_more_queries_than_a_block_and_more_rows_than_a_block(metric: str) -> None:
    generator = torch.Generator().manual_seed(5)
    queries, rows = torch.randn(300, 4, generator=generator), torch.randn(40000, 4, generator=generator)
    distances, index = search(queries, rows, 3, metric)
    looked_at = [*range(0, 300, 16), 255, 257, 299]  # on both sides of a block's end
    wanted, numbers = reference(queries[looked_at], rows, 3, metric)
    np.testing.assert_array_equal(index[looked_at].numpy(), numbers)
    np.testing.assert_allclose(distances[looked_at].numpy(), wanted, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("queries", "dim", "k"), [(8, 512, 10), (31, 20, 10), (32, 20, 10), (8, 640, 700)])
def test_either_order_of_the_product_and_more_candidates_than_are_recomputed_at_once(
    metric: str, queries: int, dim: int, k: int
) -> None:
    generator = torch.Generator().manual_seed(6)
    assert finds_as_float64(
        torch.randn(queries, dim, generator=generator), torch.randn(5000, dim, generator=generator), k, metric
    )


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_come_by_their_number(metric: str) -> None:
    generator = torch.Generator().manual_seed(7)
    few = torch.randn(40, 24, generator=generator)
    rows = few[torch.randint(0, 40, (6000,), generator=generator)]
    assert finds_as_float64(few[:5] + 0.1, rows, 200, metric)


@pytest.mark.parametrize("metric", METRICS)
def test_all_rows_equal(metric: str) -> None:
    _, index = search(torch.ones(2, 8), torch.full((5000, 8), 0.3), 4, metric)
    assert index.tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine"])
def test_near_duplicates_far_from_the_origin(metric: str) -> None:
    """The expanded form ‖x‖² + ‖y‖² − 2xy knows nothing of these differences in float32."""
    generator = torch.Generator().manual_seed(11)
    rows = 1000 + 1e-2 * torch.randn(8000, 16, generator=generator)
    assert finds_as_float64(1000 + 1e-2 * torch.randn(3, 16, generator=generator), rows, 10, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_values_whose_squares_leave_float32(metric: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(13)
    queries = torch.randn(2, 8, generator=generator) * scale
    rows = torch.randn(500, 8, generator=generator) * scale
    _, index = search(queries, rows, 5, metric)
    np.testing.assert_array_equal(index.numpy(), reference(queries, rows, 5, metric)[1])


def test_euclidean_distance_of_huge_values_is_finite() -> None:
    distances, _ = search(torch.full((1, 4), 1e30), torch.full((3, 4), -1e30), 1, "l2")
    assert float(distances[0, 0]) == pytest.approx(4e30)


@pytest.mark.parametrize("metric", METRICS)
def test_one_huge_row_among_small_ones(metric: str) -> None:
    generator = torch.Generator().manual_seed(17)
    rows = torch.randn(4000, 8, generator=generator)
    rows[100] *= 1e6
    assert finds_as_float64(torch.randn(3, 8, generator=generator), rows, 6, metric)


def test_cosine_of_zero_vectors_is_nan_and_last() -> None:
    generator = torch.Generator().manual_seed(19)
    rows = torch.randn(2000, 4, generator=generator)
    rows[::2] = 0
    distances, index = search(torch.randn(2, 4, generator=generator), rows, 1003, "cosine")
    assert distances[:, 1000:].isnan().all()
    assert index[:, 1000:].tolist() == [[0, 2, 4]] * 2
    distances, index = search(torch.zeros(1, 4), rows, 3, "cosine")
    assert distances.isnan().all()
    assert index.tolist() == [[0, 1, 2]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_small_whole_numbers_full_of_ties(data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(["l2", "sqeuclidean", "l1", "dot"]))
    count, dim = data.draw(st.integers(1, 600)), data.draw(st.integers(1, 9))
    k = data.draw(st.integers(1, count))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9999)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float16]))
    rows = torch.randint(-2, 3, (count, dim), generator=generator).to(dtype)
    assert finds_as_float64(torch.randint(-2, 3, (3, dim), generator=generator).float(), rows, k, metric)


def test_numpy_in_numpy_out_and_an_index_keeps_its_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32)
    rows.flags.writeable = False
    index = Index(rows, "l2")
    distances, numbers = index.search(rows[:3], 1)
    assert isinstance(distances, np.ndarray)
    assert numbers.tolist() == [[0], [1], [2]]
    assert distances.tolist() == [[0.0], [0.0], [0.0]]
    assert index.rows.data_ptr() == rows.ctypes.data


class Angle(Cosine):
    """Called otherwise than the metric whose form of search it has."""

    name: str = "angle"


class Taxi(L1):
    """Called l2, with the terms of l1, and no form of search."""

    name: str = "l2"
    terms = L1.terms


def test_a_metric_object_is_searched_in_the_form_that_it_states() -> None:
    rows = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert search(torch.ones(1, 2), rows, 2, Dot())[1].tolist() == [[1, 0]]
    generator = torch.Generator().manual_seed(1)
    queries, rows = torch.randn(3, 4, generator=generator), torch.randn(50, 4, generator=generator)
    assert search(queries, rows, 5, Angle("angle"))[1].equal(search(queries, rows, 5, "cosine")[1])


def test_a_metric_with_terms_of_its_own_is_not_searched_by_its_name_or_its_parents_form() -> None:
    for build in (Index, partial(StreamedIndex, device="cpu", memory_budget=1 << 20)):
        with pytest.raises(
            UserError, match="metric=l2 cannot be searched: Taxi states no form of search; cosine"
        ):
            build(ROWS, Taxi("l2"))


ROWS = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("queries", "rows", "k", "metric", "message"),
    [
        (ROWS, ROWS, 5, "l2", "k=5 must be from 1 to the number of rows, 4"),
        (ROWS, ROWS, 0, "l2", "k=0 must be from 1 to the number of rows, 4"),
        (ROWS, ROWS, 1.5, "l2", "k=1.5 must be a whole number"),
        (ROWS[:, :2], ROWS, 1, "l2", "queries of dim 2 do not fit rows of dim 3"),
        (ROWS[0], ROWS, 1, "l2", r"queries of shape \(3,\) must be \(count, dim\)"),
        (ROWS, ROWS[:0], 1, "l2", r"rows of shape \(0, 3\) must be \(count, dim\), neither of them 0"),
        (
            ROWS,
            ROWS.int(),
            1,
            "l2",
            "rows has dtype int32; distances take float64, float32, float16, bfloat16, int8",
        ),
        (ROWS, ROWS * torch.inf, 1, "l1", "row 0 holds nan, infinity or too large values"),
        (ROWS, ROWS * torch.nan, 1, "dot", "row 0 holds nan, infinity or too large values"),
        (ROWS * torch.nan, ROWS, 1, "dot", "queries hold nan or infinity"),
        (
            ROWS,
            ROWS,
            1,
            "hamming",
            "metric=hamming is none of cosine, dot, l1, l2, sqeuclidean",
        ),
        ([[1.0], [1.0, 2.0]], ROWS, 1, "l2", "queries=list cannot be read as numbers"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(
    queries: torch.Tensor, rows: torch.Tensor, k: int, metric: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        search(queries, rows, k, metric)
