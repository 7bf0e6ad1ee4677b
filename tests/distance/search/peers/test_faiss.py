"""faiss as a peer on a GPU: what its search is told of torch's memory, and the line where its package is for CPUs."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from on_gpu import OnGpu, library, problem

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.faiss import faiss


@pytest.mark.parametrize("installed", [False, True])
def test_a_package_without_gpus_is_told_as_none_is(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    library(monkeypatch, "faiss")
    monkeypatch.setattr(extras, "absent", lambda module: None if installed else f"{module} is not installed")
    with pytest.raises(
        Unavailable, match="faiss: it is not installed for GPUs: pip install faiss-gpu, in place of"
    ):
        faiss(problem(OnGpu, "l2"))


def _floats(address: int, *shape: int) -> Any:
    return np.ctypeslib.as_array((ctypes.c_float * int(np.prod(shape))).from_address(address)).reshape(shape)


def _search(resources: Any, asked: Any) -> None:
    """The search by what `asked` points to: l2 from the norms that it was given, else the inner product."""
    rows = _floats(asked.vectors, asked.numVectors, asked.dims)
    queries = _floats(asked.queries, asked.numQueries, asked.dims)
    scores = queries @ rows.T
    if asked.metric == "l2":
        scores -= _floats(asked.vectorNorms, asked.numVectors) / 2
    best = np.argsort(-scores, axis=1)[:, : asked.k]
    _floats(asked.outDistances, asked.numQueries, asked.k)[:] = np.take_along_axis(scores, best, 1)
    count = asked.numQueries * asked.k
    numbers = np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(asked.outIndices))
    numbers[:] = best.ravel()
    resources.searched += 1


@pytest.mark.parametrize(("form", "nearest"), [("l2", [2, 0]), ("sqeuclidean", [2, 0]), ("dot", [1, 2])])
def test_it_reads_torchs_rows_and_writes_into_torchs_memory(
    monkeypatch: pytest.MonkeyPatch, form: str, nearest: list[int]
) -> None:
    resources = SimpleNamespace(searched=0, setDefaultStream=lambda device, stream: streams.append(stream))
    streams: list[int] = []
    same = {
        f"cast_integer_to_{kind}": lambda value: value for kind in ("cudastream_t", "float_ptr", "void_ptr")
    }
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=5))
    library(
        monkeypatch, "faiss", StandardGpuResources=lambda: resources, GpuDistanceParams=SimpleNamespace, bfKnn=_search,
        DistanceDataType_F32="F32", IndicesDataType_I64="I64", METRIC_L1="l1", METRIC_L2="l2",
        METRIC_INNER_PRODUCT="dot", **same,
    )  # fmt: skip
    peer = faiss(problem(OnGpu, form))
    assert peer.found is not None
    assert [peer.found(peer.call()).tolist() for _ in range(2)] == [[nearest]] * 2
    assert resources.searched == 2
    assert streams == [5]
