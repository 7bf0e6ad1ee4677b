"""How the search kernels are cut for a shape: measured on an H100, see experiments/h100_search."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MOST_NEIGHBOURS = 128  # beyond, choosing groups one after the other costs more than a sort


@dataclass(frozen=True)
class Tile:
    """BM queries by BN rows by BK of the dimension, CLASSES groups a tile, warps, pipeline stages."""

    BM: int
    BN: int
    BK: int
    CLASSES: int
    warps: int
    stages: int
    tma: bool = False
    programs: int = 0  # a processor; 0: one program a tile


def product_tile(queries: int, dtype: torch.dtype, dim: int) -> Tile:
    """The cut for so many queries of a metric made of products."""
    deep = 64 if dtype.itemsize == 2 else 32
    if queries == 1:
        return Tile(1, 64, 128, 1, 4, 1)
    if queries <= 64:
        return Tile(64, 128, deep, 8, 4, 4)
    return Tile(128, 256, deep, 8, 8, 3)


def cityblock_tile(queries: int) -> Tile:
    """The cut of the l1 kernel; `BK` is how far its loop is unrolled."""
    return Tile(128, 128, 8, 4, 8, 1)


def groups_taken(k: int) -> int:
    """How many groups to look into for k neighbours: a few more than k leave room for the scores' error."""
    return max(k + 6, k + k // 4)
