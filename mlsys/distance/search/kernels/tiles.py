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
    quads: bool = False  # l1: a thread takes four elements of a query and four rows, else two and eight


def product_tile(queries: int, dtype: torch.dtype, big: bool, aligned: bool) -> Tile:
    """The cut for so many queries of a metric made of products.

    Args:
        queries: how many are searched at once.
        dtype: of the rows.
        big: whether the GPU has Hopper's shared memory and tensor copies; the other cuts fit any GPU.
        aligned: whether rows begin at multiples of 16 bytes, which tensor copies need.
    """
    half = dtype.itemsize == 2
    if queries == 1:
        return Tile(1, 64, 128, 1, 8, 1)
    if queries <= 16:
        return Tile(16, 64, 128 if half else 64, 4, 4, 4 if big else 2)
    if not big:
        return Tile(64, 128, 64 if half else 32, 8, 4, 3) if queries <= 64 else Tile(128, 128, 32, 8, 8, 3)
    if queries <= 64:
        return Tile(64, 256, 64, 8, 4, 4) if half else Tile(64, 128, 32, 8, 4, 4)
    if not half:
        return Tile(128, 128, 32, 8, 4, 3, tma=aligned)
    if not aligned:
        return Tile(128, 256, 64, 8, 8, 3)
    return Tile(128, 256, 64, 8, 8, 4 if queries <= 512 else 3, tma=True, programs=1)


def cityblock_tile(queries: int) -> Tile:
    """The cut for so many queries of l1; `BK` is how far its loop over the dimension is unrolled."""
    if queries == 1:
        return Tile(1, 64, 128, 1, 8, 1)
    if queries <= 16:
        return Tile(16, 128, 8, 4, 4, 1)
    if queries <= 64:
        return Tile(32, 128, 16, 4, 8, 1, quads=True)
    return Tile(64, 128, 16, 4, 16, 1, quads=True)


def groups_taken(k: int, dtype: torch.dtype, metric: str) -> int:
    """How many groups to look into for k neighbours: more than k, to leave room for the scores' error."""
    if dtype == torch.float32 and metric != "l1":
        return k + max(22, 3 * k // 4)  # scored in tf32
    return k + max(6, k // 4)
