"""Vectors larger than the device's memory: read, copied and reduced piece by piece within a memory budget."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from mlsys.distance import metrics, reductions
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Reduction, Running, Shape
from mlsys.distance.source import Source
from mlsys.errors import UserError


@dataclass
class StreamPlan:
    """A distance of two sources; each call reads them anew and gives bitwise what vectors in memory would give."""

    x: Source
    y: Source
    running: Running
    device: torch.device
    chunk_n: int
    buffers: list[torch.Tensor] = field(default_factory=list)
    device_bytes: int = 0
    pinned_bytes: int = 0

    @property
    def reduction(self) -> str:
        """Name of the reduction that runs."""
        return self.running.name

    def __call__(self) -> torch.Tensor:
        """Compute; 0-d tensor on the device."""
        if not self.buffers:
            self.buffers = [torch.empty(self.chunk_n, dtype=self.x.dtype) for _ in range(2)]
        for start in range(0, self.x.n, self.chunk_n):
            stop = min(start + self.chunk_n, self.x.n)
            a, b = (buffer[: stop - start] for buffer in self.buffers)
            self.x.read(start, stop, a)
            self.y.read(start, stop, b)
            self.running.add(a, b, start)
        return self.running.finish()


def stream(
    x: Source,
    y: Source,
    metric: str | Metric,
    reduction: str | Reduction,
    device: torch.device | str,
    memory_budget: int,
) -> StreamPlan:
    """Plan the distance of two sources of one length and dtype on `device`, within `memory_budget` bytes."""
    if x.n != y.n:
        raise UserError(f"x has {x.n} elements and y has {y.n}: a distance needs as many in both")
    if x.dtype != y.dtype:
        raise UserError(f"x is {x.dtype} and y is {y.dtype}: a distance needs one dtype")
    place = torch.device(device)
    running = reductions.get(reduction).start(Shape(x.n, x.dtype, place), metrics.get(metric))
    bytes_each = 2 * x.dtype.itemsize
    chunk = memory_budget // bytes_each // running.align * running.align
    if chunk < 1:
        raise UserError(f"memory_budget={memory_budget} is less than one piece, {running.align * bytes_each} bytes")
    return StreamPlan(x, y, running, place, min(chunk, -(-max(x.n, 1) // running.align) * running.align))
