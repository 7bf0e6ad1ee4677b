"""What a search is measured against: how others find the nearest rows, or do the heaviest part of it."""

from __future__ import annotations

from collections.abc import Callable

from mlsys.distance.search.peers import cuvs, faiss, flashlib, host, jax, products
from mlsys.distance.search.peers.problem import Peer, Problem

__all__ = ["PEERS", "Peer", "Problem"]

PEERS: dict[str, Callable[[Problem], Peer]] = {
    "torch_matmul_topk": products.torch_matmul_topk,
    "torch_cdist_topk": products.torch_cdist_topk,
    "torch_matmul": products.torch_matmul,
    "flashlib": flashlib.flashlib,
    "jax": jax.jax,
    "cuvs": cuvs.cuvs,
    "faiss": faiss.faiss,
    "usearch": host.usearch,
    "numkong": host.numkong,
    "scipy_cdist": host.scipy_cdist,
}
