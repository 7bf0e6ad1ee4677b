"""The knobs of `batching`, with their types and defaults; the policies check the values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

POLICIES = "mlsys.serving.batching"


@dataclass
class Hybrid:
    """`batching=hybrid`."""

    _target_: str = f"{POLICIES}.hybrid.Hybrid"
    name: str = "hybrid"
    max_size: int = 32
    timeout_ms: float = 20.0
    linger_ms: float = 25.0
    max_padded_tokens: int | None = None


@dataclass
class Size:
    """`batching=size`."""

    _target_: str = f"{POLICIES}.size.Size"
    name: str = "size"
    max_size: int = 8
    max_wait_ms: float = 1000.0
    max_padded_tokens: int | None = None


@dataclass
class Time:
    """`batching=time`."""

    _target_: str = f"{POLICIES}.time.Time"
    name: str = "time"
    max_size: int = 32
    timeout_ms: float = 20.0
    max_padded_tokens: int | None = None


SCHEMAS: dict[str, type] = {"hybrid": Hybrid, "size": Size, "time": Time}
