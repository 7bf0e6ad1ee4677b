"""Triton kernels of the int8 screen: rows and queries as whole numbers of 8 bits, and group maxima of their products.

A vector x becomes x̂ = scale · code, the codes from -127 to 127; sums of codes are exact. By Cauchy and Schwarz
|x·y - x̂·ŷ| <= ‖x‖·‖y - ŷ‖ + ‖x - x̂‖·‖ŷ‖. That is added to each score, so that no row scores less than it should.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.score import kernel

MOST = tl and tl.constexpr(127.0)
SIGNS = tl and tl.constexpr(-0x7F7F7F80)  # the bits that are the signs of four codes


@kernel
def coded(  # type: ignore[no-untyped-def]
    x, codes, scales, lengths, lost, rows, dim, width,
    ROOM: tl.constexpr, LINES: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Vectors x (rows, dim) as `codes` (rows, width) int8 and `scales` (rows,) float32, and `lost` (rows,): ‖x - x̂‖.

    `lengths` (rows,): ‖x̂‖, of QUERIES ‖x‖, and of them both over the scale. All rounded up: a code is up to 127, and so
    wrong by 2e-5 at most for the rounding of x / scale. width >= dim; the rest are zeros. ROOM is a power of two, not
    below it. A program works on LINES vectors.
    """
    line = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    there = line < rows
    at = tl.arange(0, ROOM)[None, :]
    value = tl.load(x + line[:, None] * dim + at, mask=there[:, None] & (at < dim), other=0.0).to(tl.float32)
    scale = tl.max(tl.abs(value), axis=1) / MOST
    scale = tl.where(scale > 0, scale, 1.0)
    parts = value / scale[:, None]
    code = tl.where(parts < 0, parts - 0.5, parts + 0.5).to(tl.int32)
    code = tl.minimum(tl.maximum(code, -127), 127)
    tl.store(codes + line[:, None] * width + at, code.to(tl.int8), mask=there[:, None] & (at < width))
    near = code.to(tl.float32)
    apart = tl.sqrt(tl.sum((parts - near) * (parts - near), axis=1)) * 1.0001 + 2e-5 * tl.sqrt(dim * 1.0)
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
    maxima, scale, length, lost, bias, query_scale, query_length, query_lost, x, y, queries, rows, groups, width,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, CLASSES: tl.constexpr,
    BIASED: tl.constexpr, FLATTEN: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Group maxima of (x·y·scale + query_length·lost + query_lost·length)·query_scale + bias.

    x and y are descriptors of blocks (BM, BK) and (BN, BK) of codes (…, width); for the rest see `coded`.
    """
    query_tiles = tl.cdiv(queries, BM)
    tiles = query_tiles * tl.cdiv(rows, BN)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        line = (tile % query_tiles) * BM
        first = (tile // query_tiles) * BN
        q = line + tl.arange(0, BM)
        r = first + tl.arange(0, BN)
        sums = tl.zeros([BM, BN], tl.int32)
        for k in tl.range(0, width, BK, num_stages=STAGES):
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


@jit
def code_of(word):  # type: ignore[no-untyped-def]
    """The code in the lowest byte, whose sign was turned by SIGNS, as float32: the byte ends the mantissa of 2**23.

    The processor's own conversion takes four times as long, which would be longer than to read the codes.
    """
    return ((word & 0xFF) | 0x4B000000).to(tl.float32, bitcast=True) - 8388736.0


@kernel
def code_vector_maxima(  # type: ignore[no-untyped-def]
    maxima, scale, length, lost, bias, x, y, rows, dim, units,
    EVEN: tl.constexpr, ONE: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    CLASSES: tl.constexpr, BIASED: tl.constexpr,
):  # fmt: skip
    """As `code_maxima` for one query x (dim,) that is not coded, so nothing of it is lost; y (N, 4 · units) int32.

    A word of y holds four codes. EVEN: they are dim, and a multiple of BK. ONE: no more than BK.
    """
    WORDS: tl.constexpr = BK // 4
    words = units * 4
    tile = tl.program_id(0)
    r = tile * BN + tl.arange(0, BN)
    at = tl.arange(0, WORDS)
    line = y + tl.minimum(r, rows - 1).to(tl.int64)[:, None] * words + at[None, :]
    acc = tl.zeros([BN, WORDS], tl.float32)
    squares = tl.zeros([WORDS], tl.float32)
    # before the loop, so that nothing is waited for after it
    factor = tl.load(scale + r, mask=r < rows, other=0.0)
    apart = tl.load(lost + r, mask=r < rows, other=-float("inf"))
    if BIASED:
        offset = tl.load(bias + r, mask=r < rows, other=0.0)
    for k in range(0, WORDS if ONE else words, WORDS):
        if EVEN:  # noqa: SIM108
            word = tl.load(line + k)
        else:
            word = tl.load(line + k, mask=(at < words - k)[None, :], other=0)
        word ^= SIGNS
        for j in tl.static_range(4):
            place = 4 * (k + at) + j
            if EVEN:
                some = tl.load(x + place).to(tl.float32)
            else:
                some = tl.load(x + place, mask=place < dim, other=0.0).to(tl.float32)
            acc += some[None, :] * code_of(word >> (8 * j))
            squares += some * some
    far = tl.maximum(tl.sqrt(tl.sum(squares, axis=0)), 1e-30) * 1.0001
    score = tl.sum(acc, axis=1) * factor + far * apart
    if BIASED:
        score += offset
    best = tl.max(tl.reshape(score, [BN // CLASSES, CLASSES]), axis=0)
    tl.store(maxima + tile * CLASSES + tl.arange(0, CLASSES), best)
