"""The Triton kernels of all metrics and all GPU reductions.

A program sums one segment of the vectors, `tiles` tiles of `TILE` elements, into one float64 value for each
of the metric's sums. Where segments begin depends on n alone, so sums of segments are the same whether the
vectors lie in memory or arrive in pieces. What differs between reductions is only how these values travel on.

A metric comes in as two functions: `TERMS` of two tiles and `FINISH` of three finished sums. Scalars are
int64 and never specialised; only the alignment of the vectors is.
"""

from __future__ import annotations

from typing import Any

from mlsys.distance.language import INTERPRETED, jit, tl, triton

SCALARS = ["n", "tiles", "x_stride", "y_stride", "first", "total", "count", "in_stride", "out_stride"]
FAN = 1024  # partial sums that one step of a tree adds up
JOINT = tl and tl.constexpr(not INTERPRETED)  # the interpreter would reduce a triple element by element


def kernel(function: Any) -> Any:
    """A kernel to launch, whose integers are compiled for any value."""
    if triton is None:
        return function
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return triton.jit(function, do_not_specialize=[name for name in SCALARS if name in names])


@jit
def add_three(a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    """Two triples added."""
    return a + d, b + e, c + f


@jit
def sum_tiles(a, b, c, SUMS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sum of each of `SUMS` tiles; three are reduced together, which waits once instead of three times."""
    second = tl.full([], 0.0, tl.float64)
    third = tl.full([], 0.0, tl.float64)
    if SUMS == 1:
        first = tl.sum(a)
    elif JOINT:
        first, second, third = tl.reduce((a, b, c), 0, add_three)
    else:
        first, second, third = tl.sum(a), tl.sum(b), tl.sum(c)
    return first, second, third


@jit
def segment_sums(  # type: ignore[no-untyped-def]
    x, y, n, tiles, x_stride, y_stride,
    TERMS: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr, CONTIGUOUS: tl.constexpr,
    TILE: tl.constexpr, FOLD: tl.constexpr,
    STAGES: tl.constexpr, EVICTION: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The metric's sums over one segment, which has n elements left from x and y on.

    `FOLD` neighbouring elements, which one thread loads at once, are added before they reach the running
    sums.
    """
    lanes = tl.arange(0, TILE)
    a = tl.zeros([TILE // FOLD], tl.float64)
    b = tl.zeros([TILE // FOLD], tl.float64)
    c = tl.zeros([TILE // FOLD], tl.float64)
    for i in tl.range(0, tiles, num_stages=STAGES):
        at = i * TILE + lanes
        if CONTIGUOUS:
            p, q = x + at, y + at
        else:
            p, q = x + at.to(tl.int64) * x_stride, y + at.to(tl.int64) * y_stride
        if MASKED:
            inside = at < n
            u = tl.load(p, mask=inside, other=0, eviction_policy=EVICTION)
            v = tl.load(q, mask=inside, other=0, eviction_policy=EVICTION)
            terms = TERMS(u.to(ELEMENT), v.to(ELEMENT))
            a += tl.sum(tl.reshape(tl.where(inside, terms[0], 0.0), [TILE // FOLD, FOLD]), axis=1)
            if SUMS == 3:
                b += tl.sum(tl.reshape(tl.where(inside, terms[1], 0.0), [TILE // FOLD, FOLD]), axis=1)
                c += tl.sum(tl.reshape(tl.where(inside, terms[2], 0.0), [TILE // FOLD, FOLD]), axis=1)
        else:
            u = tl.load(p, eviction_policy=EVICTION)
            v = tl.load(q, eviction_policy=EVICTION)
            terms = TERMS(u.to(ELEMENT), v.to(ELEMENT))
            a += tl.sum(tl.reshape(terms[0], [TILE // FOLD, FOLD]), axis=1)
            if SUMS == 3:
                b += tl.sum(tl.reshape(terms[1], [TILE // FOLD, FOLD]), axis=1)
                c += tl.sum(tl.reshape(terms[2], [TILE // FOLD, FOLD]), axis=1)
    return sum_tiles(a, b, c, SUMS)


@jit
def own_sums(  # type: ignore[no-untyped-def]
    x, y, n, tiles, x_stride, y_stride,
    TERMS: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr, CONTIGUOUS: tl.constexpr,
    TILE: tl.constexpr, FOLD: tl.constexpr,
    STAGES: tl.constexpr, EVICTION: tl.constexpr,
):  # fmt: skip
    """The sums over this program's segment. Only the last, partial segment pays for masks."""
    start = tl.program_id(0).to(tl.int64) * (TILE * tiles)
    x += start * x_stride
    y += start * y_stride
    if start + TILE * tiles <= n:
        a, b, c = segment_sums(
            x, y, n, tiles, x_stride, y_stride,
            TERMS, SUMS, ELEMENT, CONTIGUOUS, TILE, FOLD, STAGES, EVICTION, False,
        )  # fmt: skip
    else:
        a, b, c = segment_sums(
            x, y, n - start, tiles, x_stride, y_stride,
            TERMS, SUMS, ELEMENT, CONTIGUOUS, TILE, FOLD, STAGES, EVICTION, True,
        )  # fmt: skip
    return a, b, c


@jit
def sum_rows(values, stride, count, SUMS: tl.constexpr, FAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sums of `count` partial sums of each kind, which lie `stride` apart.

    In an order that only `count` decides; read past the first-level cache, which may hold what was there
    before.
    """
    lanes = tl.arange(0, FAN)
    a = tl.zeros([FAN], tl.float64)
    b = tl.zeros([FAN], tl.float64)
    c = tl.zeros([FAN], tl.float64)
    for i in range(0, count, FAN):
        at = values + i + lanes
        inside = i + lanes < count
        a += tl.load(at, mask=inside, other=0.0, cache_modifier=".cg")
        if SUMS == 3:
            b += tl.load(at + stride, mask=inside, other=0.0, cache_modifier=".cg")
            c += tl.load(at + 2 * stride, mask=inside, other=0.0, cache_modifier=".cg")
    return sum_tiles(a, b, c, SUMS)


@jit
def store_sums(slot, stride, a, b, c, SUMS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store a partial sum of each kind, `stride` apart."""
    tl.store(slot, a)
    if SUMS == 3:
        tl.store(slot + stride, b)
        tl.store(slot + 2 * stride, c)


@jit
def finish_sums(a, b, c, sums, out, FINISH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store the finished sums and the distance."""
    tl.store(sums, a)
    tl.store(sums + 1, b)
    tl.store(sums + 2, c)
    tl.store(out, FINISH(a, b, c).to(out.dtype.element_ty))
