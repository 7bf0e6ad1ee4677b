"""Peers that torch has: the score matrix and its largest, and the product alone."""

from __future__ import annotations

from typing import Any

import torch

from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem


def torch_matmul_topk(problem: Problem) -> Peer:
    """The usual way on a GPU: the whole score matrix in the storage's dtype, then its k largest."""
    x, k = problem.queries, problem.k
    if problem.form == "l1":
        raise Unavailable("torch_matmul_topk: l1 is no matrix product")
    y, bias = problem.scored, problem.bias
    if bias is not None:
        return Peer(
            lambda: torch.addmm(bias, x, y.T).topk(k), "torch.addmm(-|y|²/2, x, y.T).topk(k)", _indices
        )
    name = "unit_y" if problem.form == "cosine" else "y"
    return Peer(lambda: torch.matmul(x, y.T).topk(k), f"torch.matmul(x, {name}.T).topk(k)", _indices)


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


def _indices(pair: Any) -> Any:
    return pair.indices.cpu().numpy()
