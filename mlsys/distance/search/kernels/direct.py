"""Triton kernels that recompute rows term by term in float64: of chosen groups, and of any pairs of query and row."""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.score import in_lanes, kernel


@jit
def group_rows(group, member, class_bits, member_bits):  # type: ignore[no-untyped-def]
    """Row numbers, int64, of members of a group: see `score`. Of a tile's classes and members the logarithms."""
    tile = (group >> class_bits).to(tl.int64)
    return (tile << (class_bits + member_bits)) + (group & ((1 << class_bits) - 1)) + (member << class_bits)


@jit
def direct_keys(  # type: ignore[no-untyped-def]
    x, y, there, dim, BK: tl.constexpr, ONE: tl.constexpr, METRIC: tl.constexpr
):  # fmt: skip
    """Float64 keys of rows at pointers y (n,) to queries at x (n,) or (1,), term by term; else inf. ONE: dim <= BK."""
    LANES: tl.constexpr = BK // 4 if BK >= 4 else 1
    inner = tl.arange(0, BK)
    x_factor = tl.full([y.shape[0]], 1.0, tl.float64)
    y_factor = x_factor
    if METRIC == "cosine":
        xx = tl.zeros([y.shape[0], LANES], tl.float64)
        yy = tl.zeros([y.shape[0], LANES], tl.float64)
        for k in range(0, BK if ONE else dim, BK):
            inside = (inner < dim - k)[None, :]
            a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            xx += in_lanes(a * a + 0.0 * b, LANES)  # of n lines, so that one x is added up as n are
            yy += in_lanes(b * b, LANES)
        xx = tl.sum(xx, axis=1)
        yy = tl.sum(yy, axis=1)
        there = there & (xx > 0) & (yy > 0)
        x_factor = 1 / tl.sqrt(tl.where(there, xx, 1.0))
        y_factor = 1 / tl.sqrt(tl.where(there, yy, 1.0))
    acc = tl.zeros([y.shape[0], LANES], tl.float64)
    for k in range(0, BK if ONE else dim, BK):
        inside = (inner < dim - k)[None, :]
        a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        if METRIC == "dot":
            term = -a * b
        elif METRIC == "l1":
            term = tl.abs(a - b)
        elif METRIC == "cosine":
            difference = a * x_factor[:, None] - b * y_factor[:, None]
            term = 0.5 * difference * difference
        else:
            term = (a - b) * (a - b)
        acc += in_lanes(term, LANES)
    return tl.where(there, tl.sum(acc, axis=1), float("inf"))


@kernel
def group_keys(  # type: ignore[no-untyped-def]
    keys, chosen, x, y, rows, units, m, class_bits, member_bits,
    UNIT: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr, ONE: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (Q, m, members) of the rows of the chosen groups (Q, m), inf beyond the rows.

    A program for PAIRS of a query's rows. Of vectors of units · UNIT elements.
    """
    dim = units * UNIT
    candidates = m << member_bits
    parts = tl.cdiv(candidates, PAIRS)
    line = (tl.program_id(0) // parts).to(tl.int64)
    at = (tl.program_id(0) % parts) * PAIRS + tl.arange(0, PAIRS)
    group = tl.load(chosen + line * m + (at >> member_bits), mask=at < candidates, other=-1)
    row = group_rows(group, at & ((1 << member_bits) - 1), class_bits, member_bits)
    there = (group >= 0) & (row < rows)
    query = x + (line + tl.arange(0, 1)) * dim
    key = direct_keys(query, y + tl.where(there, row, 0) * dim, there, dim, BK, ONE, METRIC)
    tl.store(keys + line * candidates + at, key, mask=at < candidates)


@kernel
def pair_keys(  # type: ignore[no-untyped-def]
    x, y, query, row, keys, pairs, units,
    UNIT: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr, ONE: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (pairs,) of pairs of a query and a row, the same for equal rows wherever they stand."""
    at = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    there = at < pairs
    dim = units * UNIT
    queries = x + tl.load(query + at, mask=there, other=0) * dim
    rows = y + tl.load(row + at, mask=there, other=0) * dim
    tl.store(keys + at, direct_keys(queries, rows, there, dim, BK, ONE, METRIC), mask=there)
