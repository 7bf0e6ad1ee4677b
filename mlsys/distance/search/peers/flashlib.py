"""FlashLib as a peer: one Triton kernel that scores and selects."""

from __future__ import annotations

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem


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
