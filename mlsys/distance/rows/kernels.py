"""The Triton kernels of pairs of rows: all distances in one launch, and what the elements change them by.

A program takes `ROWS` rows of x and y, a tile of `ROWS` × `COLS` elements at a time, and sums in float64. Few long rows
are cut into segments: the program that takes a row's last ticket adds up what the others left, in order (the pattern of
CUDA's threadFenceReduction sample, as in reduction=single_pass). So every result is bitwise the same each time.

Shapes: x and y (rows, n) of any strides, a stride of 0 for a row that stands for all; out and weight (rows,).
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.reductions.kernels.sums import FAN, sum_rows

LANES = tl and tl.constexpr(FAN)


@jit
def tile_sums(u, v, inside, TERMS: tl.constexpr, SUMS: tl.constexpr, EVEN: tl.constexpr, FOLD: tl.constexpr):  # type: ignore[no-untyped-def]
    """The terms of a tile (ROWS, COLS), `FOLD` neighbours added: three tiles, those beyond `SUMS` mean nothing."""
    terms = TERMS(u, v)
    a = fold(terms[0], inside, EVEN, FOLD)
    b, c = a, a
    if SUMS == 3:
        b, c = fold(terms[1], inside, EVEN, FOLD), fold(terms[2], inside, EVEN, FOLD)
    return a, b, c


@jit
def fold(terms, inside, EVEN: tl.constexpr, FOLD: tl.constexpr):  # type: ignore[no-untyped-def]
    """The terms (ROWS, COLS) inside, `FOLD` neighbours added."""
    if not EVEN:
        terms = tl.where(inside, terms, 0.0)
    if FOLD > 1:
        terms = tl.sum(tl.reshape(terms, [terms.shape[0], terms.shape[1] // FOLD, FOLD]), axis=2)
    return terms


@jit
def rows_kernel(  # type: ignore[no-untyped-def]
    x, y, partials, counters, out, rows, n, segment, x_row, x_col, y_row, y_col,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, FOLD: tl.constexpr, EVEN: tl.constexpr, SPLIT: tl.constexpr,
    WHOLE: tl.constexpr, ALIGN: tl.constexpr,
):  # fmt: skip
    """The distance of each pair of rows; with `WHOLE` the finished sums (3, rows) instead.

    n, x_row and y_row come in units of `ALIGN` elements: so the compiler knows how many a thread may load at once.
    """
    n, x_row, y_row = n * ALIGN, x_row * ALIGN, y_row * ALIGN
    segments = tl.maximum(tl.cdiv(n, segment), 1)
    tile = tl.program_id(0) // segments
    part = tl.program_id(0) % segments
    row = tile.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    p = x + row[:, None] * x_row
    q = y + row[:, None] * y_row
    a = tl.zeros([ROWS, COLS // FOLD], tl.float64)
    b = tl.zeros([ROWS, COLS // FOLD], tl.float64)
    c = tl.zeros([ROWS, COLS // FOLD], tl.float64)
    start = part * segment
    for i in range(start, tl.minimum(start + segment, n), COLS):
        col = (i + tl.arange(0, COLS)).to(tl.int64)
        inside = (row < rows)[:, None]
        if not EVEN:
            inside = inside & (col < n)[None, :]
        u = tl.load(p + col[None, :] * x_col, mask=inside, other=0)
        v = tl.load(q + col[None, :] * y_col, mask=inside, other=0)
        d, e, f = tile_sums(u.to(ELEMENT), v.to(ELEMENT), inside, TERMS, SUMS, EVEN, FOLD)
        a += d
        if SUMS == 3:
            b += e
            c += f
    if SPLIT:
        place = partials + tile.to(tl.int64) * segments
        stride = rows.to(tl.int64) * segments
        tl.store(place + part, tl.sum(a))
        if SUMS == 3:
            tl.store(place + stride + part, tl.sum(b))
            tl.store(place + 2 * stride + part, tl.sum(c))
        if tl.atomic_add(counters + tile, 1, sem="acq_rel", scope="gpu") == segments - 1:
            s, t, r = sum_rows(place, stride, segments, SUMS, LANES)
            if WHOLE:
                tl.store(out + tile, s)
                tl.store(out + rows + tile, t)
                tl.store(out + 2 * rows + tile, r)
            else:
                tl.store(out + tile, FINISH(s, t, r).to(out.dtype.element_ty))
    else:
        store_rows(out, row, rows, tl.sum(a, axis=1), tl.sum(b, axis=1), tl.sum(c, axis=1), FINISH, WHOLE)


@jit
def store_rows(out, row, rows, a, b, c, FINISH: tl.constexpr, WHOLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store the distances of a tile's rows, or their sums."""
    inside = row < rows
    if WHOLE:
        tl.store(out + row, a, mask=inside)
        tl.store(out + rows + row, b, mask=inside)
        tl.store(out + 2 * rows + row, c, mask=inside)
    else:
        tl.store(out + row, FINISH(a, b, c).to(out.dtype.element_ty), mask=inside)


@jit
def slope_kernel(  # type: ignore[no-untyped-def]
    x, y, weight, values, sums, of_x, of_y, rows, n, x_row, x_col, y_row, y_col,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SLOPE: tl.constexpr, SUMS: tl.constexpr,
    ELEMENT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, EVEN: tl.constexpr, NEEDED: tl.constexpr,
    GIVEN: tl.constexpr, INSIDE: tl.constexpr, X: tl.constexpr, Y: tl.constexpr, ALIGN: tl.constexpr,
):  # fmt: skip
    """What each element of x and y changes its row's distance by, times the row's weight; of_x and of_y (rows, n).

    The row's sums, where the slope looks at them, come from the tile if it holds the whole rows (`INSIDE`), so that the
    elements are read once, else from `sums` (3, rows). `GIVEN`: it looks at the distances alone, which are in `values`
    (rows,). Lengths come as in `rows_kernel`.
    """
    n, x_row, y_row = n * ALIGN, x_row * ALIGN, y_row * ALIGN
    tiles = tl.cdiv(n, COLS)
    row = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    col = ((tl.program_id(0) % tiles) * COLS + tl.arange(0, COLS)).to(tl.int64)
    there = row < rows
    inside = there[:, None]
    if not EVEN:
        inside = inside & (col < n)[None, :]
    u = tl.load(x + row[:, None] * x_row + col[None, :] * x_col, mask=inside, other=0).to(ELEMENT)
    v = tl.load(y + row[:, None] * y_row + col[None, :] * y_col, mask=inside, other=0).to(ELEMENT)
    a = tl.zeros([ROWS], tl.float64)
    b, c, value = a, a, a
    if NEEDED:
        if INSIDE:
            d, e, f = tile_sums(u, v, inside, TERMS, SUMS, EVEN, 1)
            a = tl.sum(d, axis=1)
            if SUMS == 3:
                b, c = tl.sum(e, axis=1), tl.sum(f, axis=1)
        else:
            a = tl.load(sums + row, mask=there, other=0.0)
            if SUMS == 3:
                b = tl.load(sums + rows + row, mask=there, other=0.0)
                c = tl.load(sums + 2 * rows + row, mask=there, other=0.0)
        value = FINISH(a, b, c)
    elif GIVEN:
        value = tl.load(values + row, mask=there, other=0.0).to(tl.float64)
    w = tl.load(weight + row, mask=there, other=0.0).to(tl.float64)
    left, right = SLOPE(
        u.to(tl.float64), v.to(tl.float64), value[:, None], a[:, None], b[:, None], c[:, None]
    )  # fmt: skip
    to = row[:, None] * n + col[None, :]
    if X:
        tl.store(of_x + to, (w[:, None] * left).to(ELEMENT).to(of_x.dtype.element_ty), mask=inside)
    if Y:
        tl.store(of_y + to, (w[:, None] * right).to(ELEMENT).to(of_y.dtype.element_ty), mask=inside)
