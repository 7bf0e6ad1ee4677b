"""Work on fixed tensors as a CUDA graph: a small model's step on a large GPU is spent launching kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from mlsys import progress
from mlsys.cuda_graph import GraphPool
from mlsys.distance.language import side_by_side
from mlsys.quantities import cores


class Shape(Protocol):
    """Work on the fixed tensors of one shape."""

    def compile(self) -> None:
        """Make the fused kernels ready that it launches; nothing runs."""

    def record(self) -> object:
        """Make a CUDA graph of it, once."""


def pool_on(device: torch.device) -> GraphPool | None:
    """What the graphs of one engine share; None without CUDA."""
    return GraphPool(device) if device.type == "cuda" else None


def recorded(work: Callable[[], None], pool: GraphPool | None) -> Callable[[], None]:
    """`work` as a CUDA graph of `pool`; without one `work` itself."""
    return work if pool is None else pool.capture(work)[0].replay


def prepare(shapes: Sequence[Shape], name: str, pool: GraphPool | None, fused: bool) -> None:
    """Record every shape of the engine `name`.

    fused: they take the fused kernels. Those that this machine has not run before are compiled first, by a thread for
    each core.
    """
    if pool is None:
        progress.say("generator.compile=true without CUDA: shapes are fixed, but nothing is recorded")
    if fused:
        with side_by_side(cores()):
            for shape in shapes:
                shape.compile()
    with progress.step(f"preparing {len(shapes)} shapes for {name}", len(shapes)) as step:
        for shape in shapes:
            shape.record()
            step.advance()
