"""Direct float64 keys on a GPU, by one kernel: a framework's sum may round equal rows differently."""

from __future__ import annotations

import math

import torch

from mlsys.distance.search.kernels import direct
from mlsys.distance.search.kernels.tiles import key_cut

MOST_UNIT = 16


def pair_keys(
    metric: str, queries: torch.Tensor, rows: torch.Tensor, line: torch.Tensor, row: torch.Tensor
) -> torch.Tensor:
    """Keys (P,) float64 of P pairs: `line` (P,) of queries (Q, d) with `row` (P,) of rows (N, d), int64."""
    keys = torch.empty(len(line), dtype=torch.float64, device=rows.device)
    (units, unit), dim = in_units(rows.shape[1]), rows.shape[1]
    pairs, step, warps = key_cut(metric, dim, rows.itemsize)
    direct.pair_keys[(-(-len(line) // pairs),)](
        queries.contiguous(), rows, line.contiguous(), row.contiguous(), keys, len(line), units,
        UNIT=unit, PAIRS=pairs, BK=step, ONE=dim <= step, METRIC=metric, num_warps=warps,
    )  # fmt: skip
    return keys


def in_units(dim: int) -> tuple[int, int]:
    """The dimension as so many units of so many elements: kernels are compiled for the unit.

    They need it to know that rows begin at multiples of what one load takes.
    """
    unit = math.gcd(dim, MOST_UNIT)
    return dim // unit, unit


def steps(dim: int, block: int) -> dict[str, bool]:
    """Whether steps of so much take all of the dimension, and nothing beyond it; and whether one is enough."""
    return {"EVEN": dim % block == 0, "ONE": dim <= block}


def power_of_two(number: int) -> int:
    """The power of two that is not below."""
    return 1 << max(0, number - 1).bit_length()
