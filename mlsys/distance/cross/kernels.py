"""The Triton kernels of all pairs: one from the elements, and one that ends what a matrix product began.

Shapes: queries x (Q, n), rows y (N, n), out (Q, N). Both sum in float64.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl


@jit
def direct_kernel(  # type: ignore[no-untyped-def]
    x, y, zeros, out, queries, rows, n,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A tile (BM, BN) of distances from the elements; x (n, Q) and y (n, N) come transposed, with room for whole tiles.
    Sums start from `zeros` (BN,) in memory: that load has the layout in which a thread holds neighbouring columns of
    several lines, and the loop keeps it.
    """
    across = tl.cdiv(rows, BN)
    q = (tl.program_id(0) // across) * BM + tl.arange(0, BM)
    r = (tl.program_id(0) % across) * BN + tl.arange(0, BN)
    x_step, y_step = tl.cdiv(queries, BM) * BM, across * BN
    p, s = x + q, y + r
    a = tl.load(zeros + q[:, None] * 0 + tl.arange(0, BN)[None, :]).to(tl.float64)
    b, c = a, a
    for _ in range(n):
        u, v = tl.load(p).to(ELEMENT), tl.load(s).to(ELEMENT)
        terms = TERMS(u[:, None], v[None, :])
        a += terms[0]
        if SUMS == 3:
            b += terms[1]
            c += terms[2]
        p += x_step
        s += y_step
    place = out + q.to(tl.int64)[:, None] * rows + r[None, :]
    inside = (q < queries)[:, None] & (r < rows)[None, :]
    tl.store(place, FINISH(a, b, c).to(out.dtype.element_ty), mask=inside)


@jit
def settle_kernel(  # type: ignore[no-untyped-def]
    product, xx, yy, x, y, out, queries, rows, n, x_row, x_col, y_row, y_col, lost,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    FORM: tl.constexpr, SMALLEST: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Distances from products (Q, N) and squared norms xx and yy, all float64, see `products.distances`.

    A tile that holds a result in doubt is computed again from the elements, and takes those results from there.
    """
    across = tl.cdiv(rows, BN)
    q = (tl.program_id(0) // across) * BM + tl.arange(0, BM)
    r = (tl.program_id(0) % across) * BN + tl.arange(0, BN)
    inside = (q < queries)[:, None] & (r < rows)[None, :]
    place = q.to(tl.int64)[:, None] * rows + r[None, :]
    value = tl.load(product + place, mask=inside, other=0.0)
    if FORM != "dot":
        left = tl.load(xx + q, mask=q < queries, other=1.0)[:, None]
        right = tl.load(yy + r, mask=r < rows, other=1.0)[None, :]
        if FORM == "cosine":
            scale = tl.sqrt(left * right)
            value = 1.0 - value / scale
            good = (value > lost) & (scale > SMALLEST)
        else:
            scale = left + right
            value = scale - 2.0 * value
            good = (value > lost * scale) & (scale > SMALLEST) & (scale < float("inf"))
        if FORM == "l2":
            value = tl.sqrt(tl.where(good, value, 0.0))
        doubtful = inside & (good == 0)
        if tl.max(tl.max(doubtful.to(tl.int32), axis=1), axis=0) > 0:
            p = x + tl.minimum(q, queries - 1).to(tl.int64)[:, None] * x_row
            s = y + tl.minimum(r, rows - 1).to(tl.int64)[None, :] * y_row
            a = tl.zeros([BM, BN], tl.float64)
            b = tl.zeros([BM, BN], tl.float64)
            c = tl.zeros([BM, BN], tl.float64)
            for _ in range(n):
                terms = TERMS(tl.load(p).to(ELEMENT), tl.load(s).to(ELEMENT))
                a += terms[0]
                if SUMS == 3:
                    b += terms[1]
                    c += terms[2]
                p += x_col
                s += y_col
            value = tl.where(doubtful, FINISH(a, b, c), value)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)
