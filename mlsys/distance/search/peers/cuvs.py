"""cuVS as a peer: RAPIDS' exact search by tiles of the distance matrix."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem

METRICS = {"l2": "euclidean", "dot": "inner_product", "l1": "cityblock"}  # others have one name


def cuvs(problem: Problem) -> Peer:
    """`cuvs.neighbors.brute_force`, its index built beforehand, with memory kept between calls.

    It works on CUDA's stream of the thread, which waits for torch's default stream and is waited for by it. Torch's own
    cannot be given: cuVS 26.06 takes the address of the Python number for the stream, and crashes.
    """
    if not problem.on_gpu:
        raise Unavailable("cuvs: measured on a GPU")
    if problem.rows.dtype == torch.bfloat16:
        raise Unavailable("cuvs: it has no bfloat16")
    if lacking := extras.absent("cuvs"):
        raise Unavailable(lacking)
    from cuvs.common import Resources
    from cuvs.neighbors import brute_force

    _keep_memory()
    x, y, k, metric = problem.queries, problem.rows, problem.k, METRICS.get(problem.form, problem.form)
    resources = Resources()
    index = brute_force.build(y, metric=metric, resources=resources)

    def call() -> Any:
        rows = torch.empty((len(x), k), dtype=torch.int64, device=x.device)
        distances = torch.empty((len(x), k), dtype=torch.float32, device=x.device)
        brute_force.search(index, x, k, neighbors=rows, distances=distances, resources=resources)
        return rows, distances

    text = f"cuvs.neighbors.brute_force.search(index, x, k), metric={metric}"
    return Peer(call, text, lambda pair: pair[0].cpu().numpy())


@cache
def _keep_memory() -> None:
    """Let RMM, which others than RAPIDS' libraries do not use, hold freed memory as torch does."""
    import rmm.mr

    rmm.mr.set_current_device_resource(rmm.mr.CudaAsyncMemoryResource())
