"""Peers that compute on a CPU alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem


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

    text = f"torch.topk(numkong.{name}_packed(x, packed_y), k)"
    return Peer(call, text, lambda pair: pair.indices.numpy())
