"""How the search kernels are cut for a shape: measured on an H100, see experiments/h100_search."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

MOST_NEIGHBOURS = 2048
LONG = 1024
SMALL = 64  # queries whose tile leaves room for the smallest groups
FEW = 8  # up to so many groups and rows are chosen one after the other: see `many`
# smaller groups of a larger tile do not fit the shared memory beside the rows
BIG_MEMBERS, MOST_SCORES = 8, 64 * 256
MOST_CHOICES = 2**29  # groups times those taken, to the next power of two: what `many.best_of_lanes` can hold
MOST_LANES = 16_384  # groups that one program chooses among
FEW_QUERIES, MOST_KEYS = 8, 8192  # so few wait for launches, as long as they recompute no more rows
SCREENED = 128  # neighbours that are searched by way of an int8 screen
# by the bytes of an element: of more, the product of the rows themselves is as fast
SCREENED_QUERIES = {2: 32, 4: 256}
SECOND, THIRD = 128, 1024  # groups looked into for a line in doubt, at least


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

    @property
    def class_bits(self) -> int:
        """The logarithm of the groups a tile has."""
        return self.CLASSES.bit_length() - 1

    @property
    def member_bits(self) -> int:
        """The logarithm of the rows a group has."""
        return (self.BN // self.CLASSES).bit_length() - 1


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


def small_tile(dtype: torch.dtype, big: bool, aligned: bool) -> Tile:
    """The cut for many queries whose scores leave room for the smallest groups; see `product_tile`."""
    if dtype.itemsize == 2 and big and aligned:
        return Tile(128, 128, 64, 8, 8, 4, tma=True, programs=1)
    return product_tile(SMALL, dtype, big, aligned)


def screen_tile(queries: int) -> Tile:
    """The cut for so many queries of an int8 screen; all but one query's rows come by tensor copies."""
    if queries == 1:
        return Tile(1, 64, 128, 1, 8, 1)
    if queries <= 16:
        return Tile(16, 64, 128, 4, 4, 4, tma=True)
    if queries <= 64:
        return Tile(64, 128, 128, 8, 4, 4, tma=True)
    return Tile(128, 256, 128, 8, 8, 3, tma=True, programs=1)


def cityblock_tile(queries: int) -> Tile:
    """The cut for so many queries of l1; `BK` is how far its loop over the dimension is unrolled."""
    if queries == 1:
        return Tile(1, 64, 128, 1, 8, 1)
    if queries <= 16:
        return Tile(16, 128, 8, 4, 4, 1)
    if queries <= 64:
        return Tile(32, 128, 16, 4, 8, 1, quads=True)
    return Tile(64, 128, 16, 4, 16, 1, quads=True)


def is_many(k: int, metric: str, dim: int) -> bool:
    """Whether groups and rows are chosen at once: many of them, or rows that cost much to recompute.

    For cosine a long row's sums do not fit the registers: groups of 8 instead of 32 were 2.8 times as fast.
    """
    return k > FEW or (metric == "cosine" and dim >= LONG)


def smaller_groups(tile: Tile, small: Tile, queries: int, taken: int, rows: int, row_bytes: int) -> Tile:
    """The cut for choosing many groups, with `members` rows in each, at most those of `tile`.

    Small groups mean more maxima, `8 · rows / members` bytes to write and to read, large ones more rows to recompute,
    `taken · members · row_bytes` bytes: the sum is least where the two are equal. Few queries wait for launches, not
    for bytes: there groups are so large that one program chooses among all of them.

    small: the cut whose scores leave room in shared memory for the smallest groups.
    """
    most = tile.BN // tile.CLASSES
    least = max(1, rows * (1 << (taken - 1).bit_length()) / MOST_CHOICES)
    members = max(least, math.sqrt(8 * rows / (taken * row_bytes)))
    members = min(most, 1 << max(0, round(math.log2(members))))
    at_once = 1 << max(0, math.ceil(math.log2(rows / MOST_LANES)))
    if queries <= FEW_QUERIES and members < at_once <= most and taken * at_once <= MOST_KEYS:
        members = at_once
    if members < BIG_MEMBERS and tile.BM * tile.BN > MOST_SCORES:
        tile = small
    return replace(tile, CLASSES=tile.BN // members)


def first_again(taken: int) -> int:
    """How many groups are looked into first where `taken` would not do."""
    return max(SECOND, 8 * taken)


def second_choices(taken: int, groups: int) -> list[int]:
    """How many groups to look into for lines that `taken` left in doubt, one after the other; none where all were."""
    return [count for count in (first_again(taken), max(THIRD, 64 * taken)) if taken < count <= groups // 2]


def groups_taken(k: int, dtype: torch.dtype, metric: str, dim: int) -> int:
    """How many groups to look into for k neighbours: more than k, to leave room for the scores' error.

    Among normal rows some `k · 3.5 · √dim · 4 · dim · eps` others score within the error bound of the k-th. There is
    room for as many as that may be by chance, within a quarter of k.
    """
    if dtype == torch.float32 and metric != "l1":
        return k + max(22, 3 * k // 4)  # scored in tf32
    others = k * 3.5 * dim * math.sqrt(dim) * 4 * torch.finfo(torch.float32).eps
    return k + max(6, min(math.ceil(others + 5 * math.sqrt(others) + 4), max(12, k // 4)))


def is_screened(queries: int, k: int, itemsize: int) -> bool:
    """Whether an int8 screen is the faster way to k neighbours in rows of `itemsize` bytes an element."""
    return k <= SCREENED and queries <= SCREENED_QUERIES.get(itemsize, 0)


def groups_screened(k: int, dim: int, queries: int) -> int:
    """How many groups to look into for k neighbours where an int8 screen scores.

    Scores of normal rows spread by `√dim`, and a code is wrong by up to a 250th of the largest of a row's elements,
    some 3: so the bound is 0.0068 · √dim spreads for the rows, and up to 0.0095 · √dim for the queries, but for a lone
    one, which is not coded. With each spread lower there are some exp(4.3) times as many rows.
    """
    share = 0.0068 if queries == 1 else 0.0163
    expected = k * math.exp(4.3 * share * math.sqrt(dim))
    return math.ceil(expected + 6 * math.sqrt(expected))


def key_cut(metric: str, dim: int, itemsize: int) -> tuple[int, int, int]:
    """How many rows a program recomputes, how much of the dimension it takes in one step, and its warps.

    All kernels that recompute rows of one kind have this cut, so that a row's sum is added in one order and equal rows
    tie to the bit. For cosine the sums of more than 8 long rows do not fit the registers.
    """
    pairs, step, warps = 32, 128, 4
    if metric == "cosine" and dim >= LONG:
        pairs = 8
    elif metric != "cosine" and itemsize == 2:
        pairs, step, warps = 16, 64, 2
    return pairs, min(step, 1 << (dim - 1).bit_length()), warps
