"""The knobs of `workload=cdist`: plain values under `cdist`."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlsys.distance.search.options import Storage


@dataclass
class CdistOptions:
    """`python run.py workload=cdist cdist.queries=4096 cdist.rows=4096 cdist.dim=384 metric=l2`."""

    queries: float = 1024  # rows of x
    rows: float = 1024  # rows of y; whole numbers: 1e6, 1_000_000
    dim: int = 384
    storage: Storage = Storage.float32
    near: float = 0.0  # share of x's rows that are a row of y but for the last digits, where products cancel
    peers: list[str] = field(default_factory=lambda: ["torch_cdist", "torch_float64", "scipy"])
    reference_rows: int = 64  # rows of x that are compared with the definition in float64
