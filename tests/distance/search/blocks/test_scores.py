"""The bound that every answer rests on: no row scores below the floor of its own key."""

from __future__ import annotations

from operator import attrgetter

import pytest
import torch

from mlsys.distance.search.blocks import cityblock
from mlsys.distance.search.blocks.scores import full_float32, product
from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.ranking import RANKINGS


@pytest.mark.parametrize("metric", sorted(RANKINGS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_no_row_scores_below_the_floor_of_its_key(metric: str, dtype: torch.dtype, offset: float) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = (torch.randn(2000, 96, generator=generator) + offset).to(dtype)
    query = (torch.randn(1, 96, generator=generator) + offset).to(torch.promote_types(dtype, torch.float32))
    scorer = scorer_of(rows, metric)
    scores = scorer.block(query, 0, len(rows))[0].double()
    keys = RANKINGS[metric].keys(query.double(), rows.double())
    queries = query.expand(len(rows), -1)
    floors = scorer.floor(queries, scorer.lengths(queries), keys)
    assert bool((scores >= floors).all())
    spread = float(scores.max() - scores.min())
    assert float((scores - floors).max()) < (0.01 if offset == 0 else 1.0) * spread + 1


def test_l1_is_bounded_without_faiss_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cityblock, "faiss", lambda: None)
    generator = torch.Generator().manual_seed(1)
    rows, query = torch.randn(2000, 96, generator=generator), torch.randn(20, 96, generator=generator)
    scorer = scorer_of(rows, "l1")
    keys = RANKINGS["l1"].keys(query[:, None].double(), rows.double())
    floors = torch.stack([scorer.floor(query, scorer.lengths(query), key) for key in keys.T], 1)
    scores = scorer.block(query, 0, len(rows)).double()
    assert bool((scores >= floors).all())
    assert bool((scores <= -(keys + query.double().sum(1, keepdim=True)) / 2 + 0.01).all())


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1.0, torch.float32), (1e19, torch.float64), (1e-20, torch.float64)]
)
def test_float64_takes_over_where_float32_would_lose_everything(scale: float, dtype: torch.dtype) -> None:
    rows = torch.randn(10, 4, generator=torch.Generator().manual_seed(2)) * scale
    scorer = scorer_of(rows, "l2")
    assert scorer.precision(rows[:2], scorer.lengths(rows[:2])) == dtype


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_products_keep_float32_where_torch_may_take_less(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mlsys.distance.search.blocks.scores.STEP_BYTES", {"cpu": 4096, "cuda": 4096}
    )  # many steps
    generator = torch.Generator().manual_seed(3)
    queries, rows = torch.randn(300, 384, generator=generator), torch.randn(900, 384, generator=generator)
    matmul = attrgetter("mkldnn.matmul")(torch.backends)
    before = matmul.fp32_precision
    matmul.fp32_precision = precision
    try:
        assert not full_float32("cpu")
        scores = product(queries, rows)
    finally:
        matmul.fp32_precision = before
    assert scores.dtype == torch.float32
    assert torch.equal(scores, (queries.double() @ rows.double().T).float())


def test_a_precision_that_is_lowered_while_the_product_is_taken_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = iter([True, False])
    monkeypatch.setattr("mlsys.distance.search.blocks.scores.full_float32", lambda _: next(said))
    queries, rows = torch.randn(3, 384), torch.randn(9, 384)
    assert torch.equal(product(queries, rows), (queries.double() @ rows.double().T).float())
