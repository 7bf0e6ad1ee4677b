from __future__ import annotations

from typing import SupportsFloat

import numpy as np
import pytest
import torch
from definitions import SCIPY

from mlsys.distance import baseline
from mlsys.distance.baseline import Unavailable
from mlsys.distance.metrics import get
from mlsys.errors import UserError

CPU_BASELINES = ["numpy", "numpy_native", "torch", "torch_native", "scipy", "numkong", "sklearn"]
LACKING = {"scipy": ("dot",), "numkong": ("l1",), "sklearn": ("sqeuclidean", "dot")}


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(999, generator=generator), torch.randn(999, generator=generator)


@pytest.mark.parametrize("name", CPU_BASELINES)
@pytest.mark.parametrize("metric", SCIPY)
def test_each_baseline_computes_the_metric_it_says(
    name: str, metric: str, vectors: tuple[torch.Tensor, torch.Tensor]
) -> None:
    if metric in LACKING.get(name, ()):
        with pytest.raises(Unavailable, match=f"has no {metric}"):
            baseline.get(name).prepare(*vectors, get(metric))
        return
    prepared = baseline.get(name).prepare(*vectors, get(metric))
    x, y = (vector.numpy().astype(np.float64) for vector in vectors)
    value = np.asarray(prepared.call(), dtype=np.float64).ravel()[0]
    assert value == pytest.approx(SCIPY[metric](x, y), rel=1e-5)
    assert "x" in prepared.expression


def test_the_read_limit_reads_both_vectors_whatever_the_metric(
    vectors: tuple[torch.Tensor, torch.Tensor],
) -> None:
    prepared = baseline.get("torch_dot").prepare(*vectors, get("l1"))
    assert prepared.call() == torch.dot(*vectors)


def test_a_baseline_that_is_none_is_named_with_those_there_are() -> None:
    with pytest.raises(
        UserError, match=r"baselines=\[jax\] is not a baseline; there are: cupy, numkong, numpy"
    ):
        baseline.get("jax")


@pytest.mark.parametrize("name", ["numpy", "scipy", "numkong"])
def test_what_lacks_bfloat16_says_so(name: str) -> None:
    x = torch.ones(8, dtype=torch.bfloat16)
    with pytest.raises(Unavailable, match=f"{name}.* has no bfloat16"):
        baseline.get(name).prepare(x, x, get("l2"))


def test_cupy_needs_a_gpu() -> None:
    with pytest.raises(Unavailable, match="cupy needs a GPU"):
        baseline.get("cupy").prepare(torch.ones(3), torch.ones(3), get("l2"))


def test_copying_to_a_gpu_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="torch_cuda needs a GPU"):
        baseline.get("torch_cuda").prepare(torch.ones(3), torch.ones(3), get("l2"))


def value_of(prepared: baseline.Prepared) -> float:
    value = prepared.call()
    assert isinstance(value, SupportsFloat)
    return float(value)


@pytest.mark.parametrize("metric", SCIPY)
def test_every_call_copies_both_vectors_to_the_gpu(
    metric: str, vectors: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[torch.Tensor] = []
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

        def cuda(vector: torch.Tensor) -> torch.Tensor:
            copied.append(vector)
            return vector.clone()

        monkeypatch.setattr(torch.Tensor, "cuda", cuda)
    prepared = baseline.get("torch_cuda").prepare(*vectors, get(metric))
    assert baseline.get("torch_cuda").WHERE == "cpu"
    x, y = (vector.numpy().astype(np.float64) for vector in vectors)
    for _ in range(2):
        assert value_of(prepared) == pytest.approx(SCIPY[metric](x, y), rel=1e-5)
    if copied:
        assert [id(vector) for vector in copied] == [id(vector) for vector in vectors] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "torch_native", "torch_compile", "cupy"])
@pytest.mark.parametrize("metric", SCIPY)
def test_gpu_baselines_compute_the_metric(
    name: str, metric: str, vectors: tuple[torch.Tensor, torch.Tensor]
) -> None:
    prepared = baseline.get(name).prepare(vectors[0].cuda(), vectors[1].cuda(), get(metric))
    x, y = (vector.numpy().astype(np.float64) for vector in vectors)
    assert value_of(prepared) == pytest.approx(SCIPY[metric](x, y), rel=1e-5)
