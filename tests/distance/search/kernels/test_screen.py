"""The int8 screen, interpreted or compiled: the answer stays a float64 search's; what cannot be screened is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlsys.distance.language import why_not
from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.screen import ScreenMaxima
from mlsys.distance.search.kernels.tiles import groups_screened
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.errors import UserError

METRICS = ["cosine", "dot", "l2"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.skipif(why_not(DEVICE) is not None, reason="needs Triton"),
    pytest.mark.slow,  # in the interpreter
]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def screened(rows: torch.Tensor, metric: str) -> Index:
    return Index(rows.to(DEVICE), metric, method="kernels", screen="int8")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "count"), [(torch.float16, 1), (torch.float32, 5)])
def test_a_screened_search_finds_what_a_float64_search_finds(
    metric: str, dtype: torch.dtype, count: int
) -> None:
    rows, queries = normal(700, 20, seed=1, dtype=dtype), normal(count, 20, seed=2, dtype=dtype)
    index = screened(rows, metric)
    distances, found = index.search(queries.to(DEVICE), 4)
    wanted, numbers = reference(queries, rows, 4, metric)
    assert (index.doubtful, index.screen_bytes) == (0, 700 * (32 + 12))
    np.testing.assert_array_equal(found.cpu().numpy(), numbers)
    np.testing.assert_allclose(distances.cpu().numpy(), wanted, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("metric", METRICS)
def test_no_score_is_further_off_than_the_bound_says(metric: str) -> None:
    """Also with rows of very different lengths, one that is zero, and an outlier within a row."""
    rows, queries = normal(300, 24, seed=3) * torch.logspace(-2, 2, 300)[:, None], normal(3, 24, seed=4)
    rows[5], rows[7, 3] = 0, 1000
    rows, queries = rows.to(DEVICE), queries.to(DEVICE)
    screen = ScreenMaxima(scorer_of(rows, metric))  # type: ignore[arg-type]
    _, longest, tolerance, rounding = screen.limits.tolist()
    given, _ = screen.prepare(queries)
    tile = screen.tile(3)
    maxima = screen.launch(given, tile).double()
    lengths, norms = queries.double().norm(dim=1), rows.double().norm(dim=1)
    scores = queries.double() @ rows.double().T
    if metric == "cosine":
        scores = (scores / norms).nan_to_num(-torch.inf)
    elif metric != "dot":
        scores -= norms.square() / 2
    error = tolerance * lengths * longest + (0 if metric in ("dot", "cosine") else rounding * longest**2)
    off = [
        float((side.double() * scale).max()) for side, scale in zip(given[2:], given[1:2] * 2, strict=True)
    ]
    most = error + 2 * (off[0] * float(screen.rows.lost.max()) + off[1] * longest)
    for group in range(maxima.shape[1]):
        rows_of = group // tile.CLASSES * tile.BN + torch.arange(group % tile.CLASSES, tile.BN, tile.CLASSES)
        rows_of = rows_of[rows_of < 300]
        if not len(rows_of):
            assert bool((maxima[:, group] == -torch.inf).all())
            continue
        best = scores[:, rows_of].amax(1)
        assert bool((best <= maxima[:, group] + error).all())
        assert bool((maxima[:, group] <= best + most).all())


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_what_the_screen_cannot_tell_apart_is_settled_from_the_rows(metric: str) -> None:
    rows = 1 + 1e-3 * normal(900, 16, seed=7)
    index = screened(rows, metric)
    _, found = index.search((1 + 1e-3 * normal(2, 16, seed=8)).to(DEVICE), 3)
    assert index.doubtful == 2
    wanted = reference(1 + 1e-3 * normal(2, 16, seed=8), rows, 3, metric)[1]
    np.testing.assert_array_equal(found.cpu().numpy(), wanted)


def test_a_zero_query_and_zero_rows_come_as_in_any_search() -> None:
    rows = normal(400, 16, seed=9)
    rows[::3] = 0
    queries = torch.cat([torch.zeros(1, 16), normal(1, 16, seed=10)])
    for metric in METRICS:
        _, found = screened(rows, metric).search(queries.to(DEVICE), 3)
        np.testing.assert_array_equal(found.cpu().numpy(), reference(queries, rows, 3, metric)[1])


def test_rows_that_are_added_are_screened_too_and_many_neighbours_are_not() -> None:
    rows = normal(700, 16, seed=11)
    index = screened(rows[:600], "dot")
    index.add(rows[600:].to(DEVICE))
    assert index.screen_bytes == 700 * (16 + 12)
    for k in (5, 200):
        _, found = index.search(rows[690:692].to(DEVICE), k)
        np.testing.assert_array_equal(found.cpu().numpy(), reference(rows[690:692], rows, k, "dot")[1])
    search = KernelSearch(rows.to(DEVICE), "dot", scorer_of(rows.to(DEVICE), "dot"), screen=True)
    found = [search._scoring(*shape) for shape in ((256, 128), (256, 129), (257, 10))]
    assert found == [search.screen, search.scoring, search.scoring]


def test_longer_vectors_and_coded_queries_need_more_groups() -> None:
    assert [groups_screened(10, dim, 64) for dim in (128, 384, 1536)] == [51, 78, 231]
    assert groups_screened(10, 384, 1) < groups_screened(10, 384, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"screen": "int4"}, "screen=int4 must be one of none, int8"),
        ({"screen": "int8", "metric": "l1"}, "screen=int8 is for metrics made of products; l1 is none"),
        ({"screen": "int8", "method": "blocks"}, "screen=int8 needs the kernels, on a GPU; these rows"),
    ],
)
def test_what_cannot_be_screened_is_said(words: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Index(torch.ones(4, 4, device=DEVICE), **{"method": "kernels"} | words)


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("count", "dim"), [(1, 384), (9, 100), (64, 384), (300, 384)])
def test_real_sizes_are_screened_on_the_device(metric: str, dtype: torch.dtype, count: int, dim: int) -> None:
    generator = torch.Generator("cuda").manual_seed(count)
    rows = torch.randn(150_001, dim, device="cuda", generator=generator).to(dtype)
    queries = torch.randn(count, dim, device="cuda", generator=generator).to(dtype)
    index = screened(rows, metric)
    for _ in range(3):  # the last ones are replays
        _, found = index.search(queries, 10)
    assert index.doubtful <= count // 50
    for line in range(0, count, 50):
        keys = RANKINGS[metric].keys(queries[line].double(), rows.double())
        assert torch.equal(found[line], torch.sort(keys, stable=True).indices[:10])
