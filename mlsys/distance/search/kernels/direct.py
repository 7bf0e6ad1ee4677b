"""Triton kernels that recompute rows term by term in float64: of chosen groups, and of any pairs of query and row."""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.score import kernel


@jit
def group_rows(group, member, BN: tl.constexpr, CLASSES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Row numbers, int64, of members of a group: see `kernels`."""
    return (group // CLASSES).to(tl.int64) * BN + group % CLASSES + member * CLASSES


@jit
def direct_keys(  # type: ignore[no-untyped-def]
    x, y, there, D: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr
):  # fmt: skip
    """Float64 keys of rows at pointers y (n,) to queries at x (n,) or (1,), term by term; else inf."""
    inner = tl.arange(0, BK)
    x_factor = tl.full([y.shape[0]], 1.0, tl.float64)
    y_factor = x_factor
    if METRIC == "cosine":
        xx = tl.zeros([y.shape[0], BK], tl.float64)
        yy = tl.zeros([y.shape[0], BK], tl.float64)
        for k in tl.static_range(0, D, BK):
            inside = (inner < D - k)[None, :]
            a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            xx += a * a
            yy += b * b
        xx = tl.sum(xx, axis=1)
        yy = tl.sum(yy, axis=1)
        there = there & (xx > 0) & (yy > 0)
        x_factor = 1 / tl.sqrt(tl.where(there, xx, 1.0))
        y_factor = 1 / tl.sqrt(tl.where(there, yy, 1.0))
    acc = tl.zeros([y.shape[0], BK], tl.float64)
    for k in tl.static_range(0, D, BK):
        inside = (inner < D - k)[None, :]
        a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        if METRIC == "dot":
            acc -= a * b
        elif METRIC == "l1":
            acc += tl.abs(a - b)
        elif METRIC == "cosine":
            difference = a * x_factor[:, None] - b * y_factor[:, None]
            acc += 0.5 * difference * difference
        else:
            acc += (a - b) * (a - b)
    return tl.where(there, tl.sum(acc, axis=1), float("inf"))


@kernel
def group_keys(  # type: ignore[no-untyped-def]
    keys, chosen, x, y, rows,
    M: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr, PAIRS: tl.constexpr,
    BK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (Q, M, BN / CLASSES) of the rows of the chosen groups (Q, M), inf beyond the rows.

    A program for PAIRS of a query's rows.
    """
    MEMBERS: tl.constexpr = BN // CLASSES
    PARTS: tl.constexpr = (M * MEMBERS + PAIRS - 1) // PAIRS
    line = (tl.program_id(0) // PARTS).to(tl.int64)
    at = (tl.program_id(0) % PARTS) * PAIRS + tl.arange(0, PAIRS)
    group = tl.load(chosen + line * M + at // MEMBERS, mask=at < M * MEMBERS, other=-1)
    row = group_rows(group, at % MEMBERS, BN, CLASSES)
    there = (group >= 0) & (row < rows)
    query = x + (line + tl.arange(0, 1)) * D
    key = direct_keys(query, y + tl.where(there, row, 0) * D, there, D, BK, METRIC)
    tl.store(keys + line * (M * MEMBERS) + at, key, mask=at < M * MEMBERS)


@jit
def pair_keys(  # type: ignore[no-untyped-def]
    x, y, query, row, keys, pairs,
    D: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (pairs,) of pairs of a query and a row, the same for equal rows wherever they stand."""
    at = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    there = at < pairs
    queries = x + tl.load(query + at, mask=there, other=0) * D
    rows = y + tl.load(row + at, mask=there, other=0) * D
    tl.store(keys + at, direct_keys(queries, rows, there, D, BK, METRIC), mask=there)
