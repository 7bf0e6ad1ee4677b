"""Triton kernels of the search: from scores to group maxima, to the best groups, to certain neighbours.

The score matrix is never written. Rows are cut into tiles of BN and each tile into CLASSES groups: group c of
a tile holds its rows c, c + CLASSES, c + 2·CLASSES and so on, which in the matrix unit's layout is a maximum
within each thread. The k best rows lie in the k groups with the best maxima: only their rows are read again.

Shapes: queries x (Q, D), rows y (N, D), contiguous; maxima (Q, groups) float32, groups = CLASSES · tiles.
"""

from __future__ import annotations

from typing import Any

from mlsys.distance.language import jit, tl, triton

COUNTS = (  # Triton would compile for 1 and for multiples of 16 apart
    "queries", "rows", "pairs", "groups", "m", "k", "slots", "room", "units", "dim", "width",
    "class_bits", "member_bits",
)  # fmt: skip


def kernel(function: Any) -> Any:
    """A kernel to launch, compiled once whatever its COUNTS are."""
    return function if triton is None else triton.jit(function, do_not_specialize=COUNTS)


@jit
def in_lanes(terms, LANES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sums (n, LANES) of neighbouring terms (n, m): a thread adds up what it has loaded, and holds few sums."""
    return tl.sum(tl.reshape(terms, [terms.shape[0], LANES, terms.shape[1] // LANES]), axis=2)


@kernel
def product_maxima(  # type: ignore[no-untyped-def]
    maxima, scale, bias, x, y, queries, rows, groups, units,
    UNIT: tl.constexpr, EVEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, CLASSES: tl.constexpr,
    SCALED: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr, TMA: tl.constexpr,
    FLATTEN: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Group maxima of x·y·scale + bias. With TMA x and y are descriptors of blocks (BM, BK) and (BN, BK).

    Vectors have units · UNIT elements. EVEN: a multiple of BK.
    """
    dim = units * UNIT
    query_tiles = tl.cdiv(queries, BM)
    tiles = query_tiles * tl.cdiv(rows, BN)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        line = (tile % query_tiles) * BM
        first = (tile // query_tiles) * BN
        q = line + tl.arange(0, BM)
        r = first + tl.arange(0, BN)
        acc = tl.zeros([BM, BN], tl.float32)
        if TMA:
            for k in tl.range(0, dim, BK, num_stages=STAGES):
                acc = tl.dot(x.load([line, k]), y.load([first, k]).T, acc, input_precision=PRECISION)
        else:
            inner = tl.arange(0, BK)
            a = x + tl.minimum(q, queries - 1)[:, None] * dim + inner[None, :]
            b = y + tl.minimum(r, rows - 1).to(tl.int64)[None, :] * dim + inner[:, None]
            for k in tl.range(0, dim, BK, num_stages=STAGES):
                if EVEN:
                    acc = tl.dot(tl.load(a + k), tl.load(b + k), acc, input_precision=PRECISION)
                else:
                    inside = inner < dim - k
                    some = tl.load(a + k, mask=inside[None, :], other=0.0)
                    acc = tl.dot(
                        some, tl.load(b + k, mask=inside[:, None], other=0.0), acc, input_precision=PRECISION
                    )
        if SCALED:
            acc *= tl.load(scale + r, mask=r < rows, other=0.0)[None, :]
        if BIASED:
            acc += tl.load(bias + r, mask=r < rows, other=-float("inf"))[None, :]
        else:
            acc += tl.where(r < rows, 0.0, -float("inf"))[None, :]
        best = tl.max(tl.reshape(acc, [BM, BN // CLASSES, CLASSES]), axis=1)
        group = (tile // query_tiles) * CLASSES + tl.arange(0, CLASSES)
        out = maxima + q.to(tl.int64)[:, None] * groups + group[None, :]
        tl.store(out, best, mask=(q < queries)[:, None])


@jit
def row_terms(scale, bias, r, rows, SCALED: tl.constexpr, BIASED: tl.constexpr):  # type: ignore[no-untyped-def]
    """What the products of rows r (n,) are multiplied with, and what is added: -inf beyond the rows."""
    factor = tl.full(r.shape, 1.0, tl.float32)
    offset = tl.where(r < rows, 0.0, -float("inf"))
    if SCALED:
        factor = tl.load(scale + r, mask=r < rows, other=0.0)
    if BIASED:
        offset += tl.load(bias + r, mask=r < rows, other=0.0)
    return factor, offset


@kernel
def vector_maxima(  # type: ignore[no-untyped-def]
    maxima, scale, bias, x, y, rows, units,
    UNIT: tl.constexpr, EVEN: tl.constexpr, ONE: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    CLASSES: tl.constexpr, SCALED: tl.constexpr, BIASED: tl.constexpr, CITYBLOCK: tl.constexpr,
):  # fmt: skip
    """Group maxima of x·y·scale + bias, or of -Σ|x - y|, for one query: the rows are read once, nothing else.

    Vectors have units · UNIT elements. EVEN: a multiple of BK. ONE: no more than BK.
    """
    dim = units * UNIT
    tile = tl.program_id(0)
    r = tile * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    b = y + tl.minimum(r, rows - 1).to(tl.int64)[:, None] * dim + inner[None, :]
    if not ONE:  # before a loop, so that nothing is waited for after it
        factor, offset = row_terms(scale, bias, r, rows, SCALED, BIASED)
    acc = tl.zeros([BN, BK // 4], tl.float32)
    for k in range(0, BK if ONE else dim, BK):
        if EVEN:
            some = tl.load(x + k + inner).to(tl.float32)
            other = tl.load(b + k).to(tl.float32)
        else:
            inside = inner < dim - k
            some = tl.load(x + k + inner, mask=inside, other=0.0).to(tl.float32)
            other = tl.load(b + k, mask=inside[None, :], other=0.0).to(tl.float32)
        if CITYBLOCK:
            acc -= in_lanes(tl.abs(some[None, :] - other), BK // 4)
        else:
            acc += in_lanes(some[None, :] * other, BK // 4)
    score = tl.sum(acc, axis=1)
    if ONE:
        factor, offset = row_terms(scale, bias, r, rows, SCALED, BIASED)
    score = score * factor + offset
    best = tl.max(tl.reshape(score, [BN // CLASSES, CLASSES]), axis=0)
    tl.store(maxima + tile * CLASSES + tl.arange(0, CLASSES), best)


@kernel
def cityblock_maxima(  # type: ignore[no-untyped-def]
    maxima, zeros, x, y, queries, rows, groups, units,
    UNIT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr, UNROLL: tl.constexpr,
    QUADS: tl.constexpr,
):  # fmt: skip
    """Group maxima of -Σ|x - y|, of queries x (Q, D) and rows in transposed tiles y (tiles, D, BN), D = units · UNIT.

    All are padded with zeros to whole tiles and D to a multiple of UNROLL, which is even. Beside the additions loads
    bound it. Sums start from `zeros` (BN,) in memory: that load has the layout in which a thread holds neighbouring
    rows of several queries, eight from float16 zeros and four from float32, and the loop keeps it. Queries come two
    elements at a time, with QUADS four. A tile lies in one piece.
    """
    query_tiles = tl.cdiv(queries, BM)
    line = (tl.program_id(0) % query_tiles) * BM
    tile = tl.program_id(0) // query_tiles
    q = tl.arange(0, BM)
    r = tl.arange(0, BN)
    dim = units * UNIT
    x += line * dim
    y += tile.to(tl.int64) * (dim * BN)
    acc = tl.load(zeros + q[:, None] * 0 + r[None, :]).to(tl.float32)
    for _ in range(0, dim, UNROLL):
        for u in tl.static_range(0, UNROLL, 4 if QUADS else 2):
            b = y + u * BN + r
            if QUADS:
                a = tl.load(x + q[:, None] * dim + u + tl.arange(0, 4)[None, :]).to(tl.float32)
                even, odd = tl.split(tl.reshape(a, [BM, 2, 2]))
                a0, a2 = tl.split(even)
                a1, a3 = tl.split(odd)
                acc += tl.abs(a0[:, None] - tl.load(b).to(tl.float32)[None, :])
                acc += tl.abs(a1[:, None] - tl.load(b + BN).to(tl.float32)[None, :])
                acc += tl.abs(a2[:, None] - tl.load(b + 2 * BN).to(tl.float32)[None, :])
                acc += tl.abs(a3[:, None] - tl.load(b + 3 * BN).to(tl.float32)[None, :])
            else:
                a = tl.load(x + q[:, None] * dim + u + tl.arange(0, 2)[None, :]).to(tl.float32)
                a0, a1 = tl.split(a)
                acc += tl.abs(a0[:, None] - tl.load(b).to(tl.float32)[None, :])
                acc += tl.abs(a1[:, None] - tl.load(b + BN).to(tl.float32)[None, :])
        x += UNROLL
        y += UNROLL * BN
    q += line
    acc = tl.where((tile * BN + r < rows)[None, :], -acc, -float("inf"))
    best = tl.max(tl.reshape(acc, [BM, BN // CLASSES, CLASSES]), axis=1)
    group = tile * CLASSES + tl.arange(0, CLASSES)
    out = maxima + q.to(tl.int64)[:, None] * groups + group[None, :]
    tl.store(out, best, mask=(q < queries)[:, None])
