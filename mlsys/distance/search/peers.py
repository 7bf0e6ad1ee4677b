"""What a search is measured against: how others find the nearest rows, or do the heaviest part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys import extras
from mlsys.distance.baseline import Unavailable


@dataclass(frozen=True)
class Problem:
    """What is searched: queries (Q, d) and rows (N, d) of one dtype on one device, for the k nearest.

    form: the metric's form of search, see `mlsys.distance.search.ranking`.
    """

    queries: torch.Tensor
    rows: torch.Tensor
    k: int
    form: str

    @property
    def on_gpu(self) -> bool:
        """Whether it lies on a GPU."""
        return self.rows.is_cuda


@dataclass(frozen=True)
class Peer:
    """A call ready to be timed, what it computes, and how to read row numbers (Q, k) from its result, if it has."""

    call: Callable[[], Any]
    expression: str
    found: Callable[[Any], Any] | None = None


def torch_matmul_topk(problem: Problem) -> Peer:
    """The usual way on a GPU: the whole score matrix in the storage's dtype, then its k largest."""
    x, y, k = problem.queries, problem.rows, problem.k
    if problem.form == "l1":
        raise Unavailable("torch_matmul_topk: l1 is no matrix product")
    if problem.form == "dot":
        return Peer(lambda: torch.matmul(x, y.T).topk(k), "torch.matmul(x, y.T).topk(k)", _indices)
    if problem.form == "cosine":
        unit = torch.nn.functional.normalize(y, dim=1)
        return Peer(lambda: torch.matmul(x, unit.T).topk(k), "torch.matmul(x, unit_y.T).topk(k)", _indices)
    bias = (y.float().square().sum(1) / -2).to(y.dtype)
    return Peer(lambda: torch.addmm(bias, x, y.T).topk(k), "torch.addmm(-|y|²/2, x, y.T).topk(k)", _indices)


def torch_matmul(problem: Problem) -> Peer:
    """The matrix product alone: what no search that uses one goes below by much."""
    if problem.form == "l1":
        raise Unavailable("torch_matmul: l1 is no matrix product")
    return Peer(lambda: torch.matmul(problem.queries, problem.rows.T), "torch.matmul(x, y.T)")


def torch_cdist_topk(problem: Problem) -> Peer:
    """torch's distances in float32, then the k smallest."""
    p = {"l2": 2.0, "sqeuclidean": 2.0, "l1": 1.0}.get(problem.form)
    if p is None:
        raise Unavailable(f"torch_cdist_topk: torch.cdist has no {problem.form}")
    x, y, k = problem.queries.float(), problem.rows.float(), problem.k
    text = f"torch.cdist(x, y, p={p:g}).topk(k, largest=False)"
    return Peer(lambda: torch.cdist(x, y, p=p).topk(k, largest=False), text, _indices)


def faiss(problem: Problem) -> Peer:
    """faiss' exact index on a CPU, in float32."""
    if problem.on_gpu:
        raise Unavailable("faiss: the CPU package is measured on a CPU")
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


def faiss_metric(form: str | None) -> int:
    """What faiss calls a form of search; it knows cosine as the inner product of unit vectors, and l2 by its square."""
    import faiss as library

    kinds = {"l1": library.METRIC_L1, "l2": library.METRIC_L2, "sqeuclidean": library.METRIC_L2}
    kind: int = kinds.get(str(form), library.METRIC_INNER_PRODUCT)
    return kind


def scipy_cdist(problem: Problem) -> Peer:
    """scipy's distances in float64, without any selection: for l1, which matrix products do not help."""
    if problem.form != "l1" or problem.on_gpu:
        raise Unavailable("scipy_cdist: measured for l1 on a CPU")
    from scipy.spatial.distance import cdist

    x, y = problem.queries.float().numpy(), problem.rows.float().numpy()
    return Peer(lambda: cdist(x, y, "cityblock"), "scipy.spatial.distance.cdist(x, y, 'cityblock')")


def usearch(problem: Problem) -> Peer:
    """USearch's exact search, which reads the rows where they are."""
    if problem.on_gpu:
        raise Unavailable("usearch: measured on a CPU")
    if problem.form == "l1":
        raise Unavailable("usearch: it has no l1")
    from usearch.index import MetricKind, search

    kind = {"dot": MetricKind.IP, "cosine": MetricKind.Cos}.get(problem.form, MetricKind.L2sq)
    x, y, threads = problem.queries.float().numpy(), problem.rows.float().numpy(), torch.get_num_threads()
    return Peer(
        lambda: search(y, x, problem.k, kind, exact=True, threads=threads),
        f"usearch.index.search(y, x, k, {kind.name}, exact=True)",
        lambda matches: matches.keys.astype(np.int64).reshape(len(x), problem.k),
    )


def numkong(problem: Problem) -> Peer:
    """NumKong's distances to rows that it has packed, then the k best."""
    if problem.on_gpu:
        raise Unavailable("numkong: measured on a CPU")
    name = {"dot": "dots", "cosine": "angulars", "l1": None}.get(problem.form, "euclideans")
    if name is None:
        raise Unavailable("numkong: it has no l1")
    import numkong as library

    function, threads = getattr(library, f"{name}_packed"), torch.get_num_threads()
    x, packed = problem.queries.float().numpy(), library.dots_pack(problem.rows.float().numpy(), "float32")

    def call() -> Any:
        distances = torch.from_numpy(np.asarray(function(x, packed, threads=threads)))
        return distances.topk(problem.k, largest=problem.form == "dot")

    return Peer(call, f"torch.topk(numkong.{name}_packed(x, packed_y), k)", _indices)


def flashlib(problem: Problem) -> Peer:
    """FlashLib's search by one kernel that scores and selects; distances are computed anew, row by row."""
    if not problem.on_gpu:
        raise Unavailable("flashlib: measured on a GPU")
    if problem.form not in ("l2", "sqeuclidean"):
        raise Unavailable(f"flashlib: it has no {problem.form}")
    if lacking := extras.absent("flashlib"):
        raise Unavailable(lacking)
    from flashlib.primitives.knn import flash_knn

    x, y, k = problem.queries, problem.rows, problem.k
    return Peer(lambda: flash_knn(x, y, k), "flashlib.flash_knn(x, y, k)", lambda pair: pair[1].cpu().numpy())


PEERS: dict[str, Callable[[Problem], Peer]] = {
    "torch_matmul_topk": torch_matmul_topk,
    "torch_cdist_topk": torch_cdist_topk,
    "torch_matmul": torch_matmul,
    "flashlib": flashlib,
    "faiss": faiss,
    "usearch": usearch,
    "numkong": numkong,
    "scipy_cdist": scipy_cdist,
}


def _indices(pair: Any) -> Any:
    return pair.indices.cpu().numpy()
