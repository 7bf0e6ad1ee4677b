"""cuVS as a peer: what it is asked, how its answer is read, and why it is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from on_gpu import OnGpu, library, problem

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers import Problem, cuvs

P = {"euclidean": 2.0, "sqeuclidean": 2.0, "cityblock": 1.0}


@pytest.mark.parametrize(
    ("kind", "dtype", "said"),
    [
        (Problem, torch.float16, "cuvs: measured on a GPU"),
        (OnGpu, torch.bfloat16, "cuvs: it has no bfloat16"),
        (OnGpu, torch.float16, "cuvs is not installed: "),
    ],
)
def test_it_is_left_out_with_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[Problem], dtype: torch.dtype, said: str
) -> None:
    monkeypatch.setattr(extras, "absent", lambda module: f"{module} is not installed: …")
    with pytest.raises(Unavailable, match=said):
        cuvs.cuvs(problem(kind, "l2", dtype))


@pytest.mark.parametrize(
    ("form", "nearest"), [("l2", [2, 0]), ("sqeuclidean", [2, 0]), ("l1", [2, 0]), ("dot", [1, 2])]
)
def test_it_searches_torchs_rows_into_torchs_memory(
    monkeypatch: pytest.MonkeyPatch, form: str, nearest: list[int]
) -> None:
    kept: list[str] = []

    def build(rows: torch.Tensor, metric: str, resources: Any) -> Any:
        return rows, metric

    def search(
        index: Any, x: torch.Tensor, k: int, neighbors: torch.Tensor, distances: torch.Tensor, resources: Any
    ) -> None:
        rows, metric = index
        if metric == "inner_product":
            values, numbers = torch.matmul(x, rows.T).topk(k)
        else:
            values, numbers = torch.cdist(x, rows, p=P[metric]).topk(k, largest=False)
        neighbors.copy_(numbers)
        distances.copy_(values)

    monkeypatch.setattr(extras, "absent", lambda module: None)
    library(monkeypatch, "cuvs.neighbors", brute_force=SimpleNamespace(build=build, search=search))
    library(monkeypatch, "cuvs.common", Resources=object)
    library(
        monkeypatch,
        "rmm.mr",
        CudaAsyncMemoryResource=lambda: "async",
        set_current_device_resource=kept.append,
    )
    cuvs._keep_memory.cache_clear()
    peer = cuvs.cuvs(problem(OnGpu, form))
    cuvs._keep_memory.cache_clear()
    assert peer.found is not None
    assert peer.found(peer.call()).tolist() == [nearest]
    assert kept == ["async"]
