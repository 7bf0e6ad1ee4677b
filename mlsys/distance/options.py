"""The knobs of the groups reduction and data, so that a wrong type or an unknown key is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class RandomOptions:
    """data=random has no knobs."""

    _target_: str = "mlsys.distance.data.random.Random"
    name: str = "random"


@dataclass
class FileOptions:
    """data=file: two files, and which entry of each where a file holds several."""

    _target_: str = "mlsys.distance.data.file.File"
    name: str = "file"
    x: str | None = None
    y: str | None = None
    x_key: str | None = None
    y_key: str | None = None
    flatten: bool = False


@dataclass
class TritonOptions:
    """The knobs of a GPU reduction; null takes the measured value for the GPU and the size."""

    tile_bytes: int | None = None
    tiles: int | None = None
    warps: int | None = None
    stages: int | None = None
    evict_first: bool | None = None


@dataclass
class AtomicOptions(TritonOptions):
    """reduction=atomic."""

    _target_: str = "mlsys.distance.reductions.atomic.Atomic"
    name: str = "atomic"


@dataclass
class HierarchicalOptions(TritonOptions):
    """reduction=hierarchical."""

    _target_: str = "mlsys.distance.reductions.hierarchical.Hierarchical"
    name: str = "hierarchical"
    fan: int = 1024


@dataclass
class SinglePassOptions(TritonOptions):
    """reduction=single_pass."""

    _target_: str = "mlsys.distance.reductions.single_pass.SinglePass"
    name: str = "single_pass"
    fan: int = 1024


SCHEMAS: dict[str, Any] = {
    "data/random": RandomOptions,
    "data/file": FileOptions,
    "reduction/atomic": AtomicOptions,
    "reduction/hierarchical": HierarchicalOptions,
    "reduction/single_pass": SinglePassOptions,
}
