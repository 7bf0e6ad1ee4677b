"""Triton kernels of the int8 screen: rows and queries as whole numbers of 8 bits, and group maxima of their products.

A vector x becomes x̂ = scale · code, the codes from -127 to 127; sums of codes are exact. By Cauchy and Schwarz
|x·y - x̂·ŷ| <= ‖x‖·‖y - ŷ‖ + ‖x - x̂‖·‖ŷ‖. That is added to each score, so that no row scores less than it should.
"""

from __future__ import annotations

from mlsys.distance.language import tl
from mlsys.distance.search.kernels.score import kernel

MOST = tl and tl.constexpr(127.0)


@kernel
def coded(  # type: ignore[no-untyped-def]
    x, codes, scales, lengths, lost, rows,
    D: tl.constexpr, WIDTH: tl.constexpr, ROOM: tl.constexpr, LINES: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Vectors x (rows, D) as `codes` (rows, WIDTH) int8 and `scales` (rows,) float32, and `lost` (rows,): ‖x - x̂‖.

    `lengths` (rows,): ‖x̂‖, of QUERIES ‖x‖, and of them both over the scale. All rounded up: a code is up to 127, and so
    wrong by 2e-5 at most for the rounding of x / scale. WIDTH >= D; the rest are zeros. ROOM is a power of two, not
    below WIDTH. A program works on LINES vectors.
    """
    line = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    there = line < rows
    at = tl.arange(0, ROOM)[None, :]
    value = tl.load(x + line[:, None] * D + at, mask=there[:, None] & (at < D), other=0.0).to(tl.float32)
    scale = tl.max(tl.abs(value), axis=1) / MOST
    scale = tl.where(scale > 0, scale, 1.0)
    parts = value / scale[:, None]
    code = tl.where(parts < 0, parts - 0.5, parts + 0.5).to(tl.int32)
    code = tl.minimum(tl.maximum(code, -127), 127)
    tl.store(codes + line[:, None] * WIDTH + at, code.to(tl.int8), mask=there[:, None] & (at < WIDTH))
    near = code.to(tl.float32)
    apart = tl.sqrt(tl.sum((parts - near) * (parts - near), axis=1)) * 1.0001 + 2e-5 * tl.sqrt(D * 1.0)
    if QUERIES:
        length = tl.maximum(tl.sqrt(tl.sum(parts * parts, axis=1)), 1e-30) * 1.0001
    else:
        length = tl.sqrt(tl.sum(near * near, axis=1)) * scale * 1.0001
        apart *= scale
    tl.store(scales + line, scale, mask=there)
    tl.store(lengths + line, length, mask=there)
    tl.store(lost + line, apart, mask=there)


@kernel
def code_maxima(  # type: ignore[no-untyped-def]
    maxima, scale, length, lost, bias, query_scale, query_length, query_lost, x, y, queries, rows, groups,
    D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, CLASSES: tl.constexpr,
    BIASED: tl.constexpr, FLATTEN: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Group maxima of (x·y·scale + query_length·lost + query_lost·length)·query_scale + bias.

    x and y are descriptors of blocks (BM, BK) and (BN, BK) of codes; for the rest see `coded`.
    """
    query_tiles = tl.cdiv(queries, BM)
    tiles = query_tiles * tl.cdiv(rows, BN)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        line = (tile % query_tiles) * BM
        first = (tile // query_tiles) * BN
        q = line + tl.arange(0, BM)
        r = first + tl.arange(0, BN)
        sums = tl.zeros([BM, BN], tl.int32)
        for k in tl.range(0, D, BK, num_stages=STAGES):
            sums = tl.dot(x.load([line, k]), y.load([first, k]).T, sums, out_dtype=tl.int32)
        factor = tl.load(query_scale + q, mask=q < queries, other=1.0)[:, None]
        far = tl.load(query_length + q, mask=q < queries, other=1.0)[:, None]
        off = tl.load(query_lost + q, mask=q < queries, other=1.0)[:, None]
        acc = sums.to(tl.float32) * tl.load(scale + r, mask=r < rows, other=0.0)[None, :]
        acc += far * tl.load(lost + r, mask=r < rows, other=-float("inf"))[None, :]
        acc += off * tl.load(length + r, mask=r < rows, other=0.0)[None, :]
        if BIASED:
            acc = acc * factor + tl.load(bias + r, mask=r < rows, other=0.0)[None, :]
        best = tl.max(tl.reshape(acc, [BM, BN // CLASSES, CLASSES]), axis=1)
        if not BIASED:
            best *= factor
        group = (tile // query_tiles) * CLASSES + tl.arange(0, CLASSES)
        out = maxima + q.to(tl.int64)[:, None] * groups + group[None, :]
        tl.store(out, best, mask=(q < queries)[:, None])


@kernel
def code_vector_maxima(  # type: ignore[no-untyped-def]
    maxima, scale, length, lost, bias, x, y, rows,
    D: tl.constexpr, WIDTH: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, CLASSES: tl.constexpr,
    BIASED: tl.constexpr,
):  # fmt: skip
    """As `code_maxima` for one query x (D,) that is not coded, so nothing of it is lost; y (N, WIDTH) int8."""
    tile = tl.program_id(0)
    r = tile * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    line = y + tl.minimum(r, rows - 1).to(tl.int64)[:, None] * WIDTH + inner[None, :]
    acc = tl.zeros([BN, BK], tl.float32)
    squares = tl.zeros([BK], tl.float32)
    for k in tl.static_range(0, WIDTH, BK):
        some = tl.load(x + k + inner, mask=inner < D - k, other=0.0).to(tl.float32)
        if WIDTH % BK == 0:  # noqa: SIM108
            other = tl.load(line + k)
        else:
            other = tl.load(line + k, mask=(inner < WIDTH - k)[None, :], other=0)
        acc += some[None, :] * other.to(tl.float32)
        squares += some * some
    far = tl.maximum(tl.sqrt(tl.sum(squares, axis=0)), 1e-30) * 1.0001
    score = tl.sum(acc, axis=1) * tl.load(scale + r, mask=r < rows, other=0.0)
    score += far * tl.load(lost + r, mask=r < rows, other=-float("inf"))
    if BIASED:
        score += tl.load(bias + r, mask=r < rows, other=0.0)
    best = tl.max(tl.reshape(score, [BN // CLASSES, CLASSES]), axis=0)
    tl.store(maxima + tile * CLASSES + tl.arange(0, CLASSES), best)
