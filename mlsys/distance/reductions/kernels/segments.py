"""What the Triton reductions share: where segments begin, which version of a kernel is meant, memory of their
own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from mlsys.distance import tuning_table
from mlsys.distance.language import tl, why_not
from mlsys.distance.launch import Kernel, Launch
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.reductions import Shape
from mlsys.distance.tuning_model import Settings
from mlsys.errors import UserError

VECTOR_BYTES = 16  # what one thread loads at once


@dataclass(frozen=True)
class Tuned:
    """The knobs of a Triton reduction; null takes the measured value for the GPU and the size."""

    tile_bytes: int | None = None
    tiles: int | None = None
    warps: int | None = None
    stages: int | None = None
    evict_first: bool | None = None

    def settings(self, shape: Shape, sums: int) -> Settings:
        """The settings for `shape` and a metric of so many sums. Raises UserError for a knob out of range."""
        found = tuning_table.settings(shape.device, shape.n, shape.dtype.itemsize, sums)
        own = {
            name: getattr(self, name)
            for name in Settings.__dataclass_fields__
            if getattr(self, name) is not None
        }
        for name in ("tile_bytes", "warps"):
            value = own.get(name, 1)
            if value < 1 or value & (value - 1):
                raise UserError(f"reduction.{name}={value} must be a power of two")
        if own.get("tile_bytes", 4096) < 128:
            raise UserError(f"reduction.tile_bytes={own['tile_bytes']} must be at least 128")
        for name in ("tiles", "stages"):
            if own.get(name, 1) < 1:
                raise UserError(f"reduction.{name}={own[name]} must be at least 1")
        fan = getattr(self, "fan", 2)
        if fan < 2 or fan & (fan - 1):
            raise UserError(f"reduction.fan={fan} must be a power of two, at least 2")
        return Settings(**{**found.__dict__, **own})


class SegmentRun(ABC):
    """A Triton reduction under way. It has memory of its own, so one stream at a time may run it."""

    name: str
    slots = 3

    def __init__(self, name: str, shape: Shape, metric: Metric, tuned: Tuned) -> None:
        reason = why_not(shape.device.type)
        if reason:
            raise UserError(f"reduction={name} {reason}")
        self.name, self.shape, self.metric = name, shape, for_dtype(metric, shape.wide)
        self.settings = tuned.settings(shape, self.metric.sums)
        itemsize = shape.dtype.itemsize
        self.align = self.settings.segment_n(itemsize)
        self.total = max(1, -(-shape.n // self.align))
        self.constants = {
            "TERMS": type(self.metric).terms,
            "FINISH": type(self.metric).finish,
            "SUMS": self.metric.sums,
            "ELEMENT": tl.float64 if shape.wide else tl.float32,
            "TILE": self.settings.tile_n(itemsize),
            "FOLD": VECTOR_BYTES // itemsize,
            "STAGES": self.settings.stages,
            "EVICTION": "evict_first" if self.settings.evict_first else "",
            "CONTIGUOUS": shape.contiguous,
        }
        self._result = torch.zeros((), dtype=shape.result_dtype, device=shape.device)
        self._sums = torch.zeros(3, dtype=torch.float64, device=shape.device)
        self._added: tuple[Any, Launch] | None = None

    def add(self, x: torch.Tensor, y: torch.Tensor, first: int) -> None:
        """Launch on one piece, which begins at a multiple of `align`."""
        key = (x.data_ptr(), y.data_ptr(), x.numel(), first)
        if self._added is None or self._added[0] != key:
            programs = max(1, -(-len(x) // self.align))
            self._added = (key, self.bind(x, y, first // self.align, programs))
        self._added[1]()

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of two whole vectors, in memory of its own."""
        self.add(x, y, 0)
        return self.finish().clone()

    def sums(self) -> torch.Tensor:
        """The metric's finished sums; call after `finish`."""
        return self._sums[: self.metric.sums]

    def empty(self, *shape: int) -> torch.Tensor:
        """Float64 memory on the device, not initialised."""
        return torch.empty(shape, dtype=torch.float64, device=self.shape.device)

    def kernel(self, function: Any, **constants: Any) -> Kernel:
        """`function` with the constants of this reduction."""
        return Kernel(function, self.constants | constants, self.settings.warps)

    def scalars(self, x: torch.Tensor, y: torch.Tensor) -> tuple[int, int, int, int]:
        """n, tiles a segment, and the strides of a piece."""
        return len(x), self.settings.tiles, x.stride(0), y.stride(0)

    @abstractmethod
    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Launch:
        """The launch on a piece that begins at `segment`."""

    @abstractmethod
    def finish(self) -> torch.Tensor:
        """The distance, 0-d on the device; the next call overwrites it."""
