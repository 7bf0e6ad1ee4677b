"""The knobs of `workload=pairs`: plain values under `pairs`."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlsys.distance.search.options import Storage


@dataclass
class PairsOptions:
    """`python run.py workload=pairs pairs.rows=1e5 pairs.dim=384 metric=l2`."""

    rows: float = 1e5  # pairs of rows; whole numbers: 1e6, 1_000_000
    dim: int = 384
    elements: float | None = None  # rows · dim: where it is given it says how many rows there are
    storage: Storage = Storage.float32
    one: bool = False  # all rows of x are compared with one row
    backward: bool = (
        False  # measure the gradient too: backward alone, and with forward as a training step has it
    )
    peers: list[str] = field(default_factory=lambda: ["torch", "numpy"])  # and torch_compile
    reference_rows: int = 1000  # compared with the definition in float64
