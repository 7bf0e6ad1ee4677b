"""Random rows for the search benchmark: the same rows of one seed, whatever part of them a process holds.

They are drawn in blocks, each from a seed of its own, so a rank draws only what it searches.
"""

from __future__ import annotations

import numpy as np
import torch

BLOCK_ROWS = 1 << 16
ROWS, QUERIES = 0, 1  # which of the two is drawn


def drawn(
    which: int, start: int, stop: int, dim: int, dtype: torch.dtype, device: torch.device, seed: int
) -> torch.Tensor:
    """Rows start … stop (exclusive) of standard normal numbers, (stop - start, dim), made on `device`.

    A CPU and a GPU draw different numbers.
    """
    rows = torch.empty(stop - start, dim, dtype=dtype, device=device)
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS) if stop > start else 0):
        first = block * BLOCK_ROWS
        begin, end = max(first, start), min(first + BLOCK_ROWS, stop)
        generator = torch.Generator(device).manual_seed(_seed_of(seed, which, block))
        # as many for a part as for the whole block: torch's numbers depend on how many are drawn at once
        made = torch.randn(BLOCK_ROWS, dim, generator=generator, device=device)
        rows[begin - start : end - start] = made[begin - first : end - first]
    return rows


def _seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
