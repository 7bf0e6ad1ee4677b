"""Work on fixed tensors as a CUDA graph: a small model's step on a large GPU is spent launching kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mlsys.cuda_graph import GraphPool


def pool_on(device: torch.device) -> GraphPool | None:
    """What the graphs of one engine share; None without CUDA."""
    return GraphPool(device) if device.type == "cuda" else None


def recorded(work: Callable[[], None], pool: GraphPool | None) -> Callable[[], None]:
    """`work` as a CUDA graph of `pool`; without one `work` itself."""
    return work if pool is None else pool.capture(work)[0].replay
