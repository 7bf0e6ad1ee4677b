"""Direct float64 keys on a GPU, by one kernel: a framework's sum may round equal rows differently."""

from __future__ import annotations

import torch

from mlsys.distance.search.kernels import direct

PAIRS = 32


def pair_keys(
    metric: str, queries: torch.Tensor, rows: torch.Tensor, line: torch.Tensor, row: torch.Tensor
) -> torch.Tensor:
    """Keys (P,) float64 of P pairs: `line` (P,) of queries (Q, d) with `row` (P,) of rows (N, d), int64."""
    keys = torch.empty(len(line), dtype=torch.float64, device=rows.device)
    dim = rows.shape[1]
    direct.pair_keys[(-(-len(line) // PAIRS),)](
        queries.contiguous(), rows, line.contiguous(), row.contiguous(), keys, len(line),
        D=dim, PAIRS=PAIRS, BK=block(dim), METRIC=metric,
    )  # fmt: skip
    return keys


def block(dim: int) -> int:
    """How much of the dimension one step takes: at most 128, a power of two."""
    return min(128, power_of_two(dim))


def power_of_two(number: int) -> int:
    """The power of two that is not below."""
    return 1 << max(0, number - 1).bit_length()
