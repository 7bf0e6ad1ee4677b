"""faiss as a peer: its exact index on a CPU, its exact search of rows where they lie on a GPU."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def faiss(problem: Problem) -> Peer:
    """faiss' exact search: in float32 on a CPU, in the storage's dtype on a GPU."""
    return _on_gpu(problem) if problem.on_gpu else _on_cpu(problem)


def _on_cpu(problem: Problem) -> Peer:
    import faiss as library

    x, y = problem.queries.float(), problem.rows.float()
    if problem.form == "cosine":
        x, y = torch.nn.functional.normalize(x, dim=1), torch.nn.functional.normalize(y, dim=1)
    index = library.IndexFlat(y.shape[1], faiss_metric(problem.form))
    index.add(y.numpy())
    library.omp_set_num_threads(torch.get_num_threads())
    queries = x.numpy()
    return Peer(
        lambda: index.search(queries, problem.k), "faiss.IndexFlat.search(x, k)", lambda pair: pair[1]
    )


def _on_gpu(problem: Problem) -> Peer:
    """`bfKnn` reads torch's rows and writes into torch's memory, on torch's stream; rows' norms are given to it."""
    # Not by `import`: the package of CPUs states its types, without what GPUs have.
    library: Any = None if extras.absent("faiss") else import_module("faiss")
    if not hasattr(library, "StandardGpuResources"):
        raise Unavailable("faiss: it is not installed for GPUs: pip install faiss-gpu, in place of faiss-cpu")
    x, y, device = problem.queries, problem.scored, problem.rows.device.index
    resources = library.StandardGpuResources()
    stream = torch.cuda.current_stream(device).cuda_stream
    resources.setDefaultStream(device, library.cast_integer_to_cudastream_t(stream))
    asked = library.GpuDistanceParams()
    asked.metric, asked.k, asked.dims = faiss_metric(problem.form), problem.k, x.shape[1]
    asked.device = device
    asked.vectors, asked.numVectors = _pointer(library, y), len(y)
    asked.queries, asked.numQueries = _pointer(library, x), len(x)
    asked.vectorType = asked.queryType = getattr(library, f"DistanceDataType_{DTYPES[y.dtype]}")
    norms = problem.squares if problem.bias is not None else None
    if norms is not None:
        asked.vectorNorms = library.cast_integer_to_float_ptr(norms.data_ptr())

    def call() -> Any:
        rows = torch.empty((len(x), problem.k), dtype=torch.int64, device=x.device)
        distances = torch.empty((len(x), problem.k), dtype=torch.float32, device=x.device)
        asked.outIndices, asked.outIndicesType = _pointer(library, rows), library.IndicesDataType_I64
        asked.outDistances = library.cast_integer_to_float_ptr(distances.data_ptr())
        library.bfKnn(resources, asked)
        return rows, distances, (x, y, norms)  # which are to outlive the call

    return Peer(call, "faiss.bfKnn(resources, x, y, k)", lambda found: found[0].cpu().numpy())


def faiss_metric(form: str | None) -> int:
    """What faiss calls a form of search; it knows cosine as the inner product of unit vectors, and l2 by its square."""
    import faiss as library

    kinds = {"l1": library.METRIC_L1, "l2": library.METRIC_L2, "sqeuclidean": library.METRIC_L2}
    kind: int = kinds.get(str(form), library.METRIC_INNER_PRODUCT)
    return kind


def _pointer(library: Any, tensor: torch.Tensor) -> Any:
    return library.cast_integer_to_void_ptr(tensor.data_ptr())
