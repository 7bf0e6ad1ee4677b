"""The Triton kernels of squared distances by way of whole numbers, which the matrix unit multiplies and adds exactly.

A row x becomes x̂ = scale · v, v whole numbers of 32 bits, and each of those four digits of 8 bits, from -128 to 127.
The product of two rows is the sum of the products of their digits, by weight: this is Ozaki's scheme ("Error-free
transformations of matrix multiplication by using fast routines of matrix multiplication", 2012), with int8 for the
digits as in Ootomo, Ozaki and Yokota ("DGEMM on integer matrix multiplication unit", 2024). The 13 products of the
highest weights are taken, and ‖x̂ − ŷ‖² is put together in float64.

What is lost is bounded: e = ‖x − x̂‖ + ‖y − ŷ‖ of the distance d, and of its square the products left out, which are
at most s = (n + 2) · 2^24 · scale_x · scale_y. Both together are a 2^24th of d² at most where 0.7 · d >= e · 2^25 and
0.3 · d² >= s · 2^24. Each row has a limit, and both hold where d is above the sum of two rows' limits. A result below
is marked, and computed again from the elements.

Distances do not change when all rows move: the rows are taken from a `center` among them, so that an offset that they
share costs no digits.
"""

from __future__ import annotations

from mlsys.distance.language import jit, jit_once, tl

LARGEST = tl and tl.constexpr(127.0 * 2**24)  # whole numbers up to it have digits up to 127
SHIFT = tl and tl.constexpr(1.5 * 2**52)  # float64 plus it has no digits after the point
BIASED = tl and tl.constexpr(0x44C8 << 48)  # the bits of float64 1.5 · 2^77: a whole number more is 2^25 more
BIAS = tl and tl.constexpr(1.5 * 2**77)
NARROWER = tl and tl.constexpr(896)  # how far apart float64's exponents are from those of float32
# The upper halves of float64 2^-120 and 2^120: float32 holds squares between them with ease.
LEAST, MOST = tl and tl.constexpr((1023 - 120) << 20), tl and tl.constexpr((1023 + 120) << 20)
MARK = tl and tl.constexpr(-1.0)  # no distance is negative


@jit
def elements(x, line, at, n):  # type: ignore[no-untyped-def]
    """Elements `at` of rows `line` of x (rows, n) as float32, zeros beyond n."""
    return tl.load(x + line[:, None] * n + at[None, :], mask=(at < n)[None, :], other=0.0).to(tl.float32)


@jit
def centered(x, center, line, at, n, factor, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """The same less the center's, in float32; for cosine times the row's `factor` before, in float64."""
    value = elements(x, line, at, n)
    middle = tl.load(center + at, mask=at < n, other=0.0)[None, :]
    if FORM == "cosine":  # noqa: SIM108
        moved = value.to(tl.float64) * factor[:, None] - middle.to(tl.float64)
    else:
        moved = value - middle
    return moved


@jit
def inverse_lengths(x, line, n, LINES: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """1 / ‖x‖ of rows, float64."""
    total = tl.zeros([LINES, WIDTH], tl.float64)
    for first in range(0, n, WIDTH):
        value = elements(x, line, first + tl.arange(0, WIDTH), n).to(tl.float64)
        total += value * value
    return 1.0 / tl.sqrt(tl.sum(total, axis=1))


@jit_once("rows", "n")
def center_kernel(y, center, rows, n, FORM: tl.constexpr, SAMPLE: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """The middle (n,) float32 of SAMPLE rows of y (rows, n), of unit vectors for cosine, WIDTH columns a program.

    In each column the mean of the middle half: rows far off do not move it. What is not finite counts as 0.
    """
    line = (tl.arange(0, SAMPLE).to(tl.int64) * rows) // SAMPLE
    at = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    value = tl.load(y + line[None, :] * n + at[:, None], mask=(at < n)[:, None], other=0.0).to(tl.float32)
    if FORM == "cosine":
        value *= inverse_lengths(y, line, n, SAMPLE, WIDTH).to(tl.float32)[None, :]
    value = tl.sort(tl.where(tl.abs(value) < 1e37, value, 0.0))
    place = tl.arange(0, SAMPLE)[None, :]
    inner = (place >= SAMPLE // 4) & (place < 3 * SAMPLE // 4)
    tl.store(center + at, tl.sum(tl.where(inner, value, 0.0), axis=1) / (SAMPLE // 2), mask=at < n)


@jit_once("queries", "rows", "n", "sixteenths")
def digits_kernel(  # type: ignore[no-untyped-def]
    x, y, center, digits, scales, squares, limits, queries, rows, n, sixteenths,
    FORM: tl.constexpr, LINES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Rows x (queries, n), then y (rows, n), less `center` (n,), as `digits` (4, queries + rows, width) int8, the
    highest first; of each row `scales` and `squares` ‖x̂‖², float64, and `limits`, float32, see above.

    width = 16 · sixteenths >= n; digits beyond n are zeros. For cosine rows are unit vectors first. What is not finite,
    or cannot be a unit vector, has the scale nan.
    """
    width = sixteenths * 16
    blocks = tl.cdiv(queries, LINES)
    row = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    source, count, to = x, queries, row
    if tl.program_id(0) >= blocks:
        row -= blocks * LINES
        source, count, to = y, rows, row + queries
    there = row < count
    line = tl.minimum(row, count - 1)
    factor = tl.full([LINES], 1.0, tl.float64)
    if FORM == "cosine":
        factor = inverse_lengths(source, line, n, LINES, WIDTH)
    scale = tl.zeros([LINES], tl.float64)
    for first in range(0, n, WIDTH):
        value = centered(source, center, line, first + tl.arange(0, WIDTH), n, factor, FORM)
        size = tl.where(value == value, tl.abs(value), float("inf"))
        scale = tl.maximum(scale, tl.max(size, axis=1).to(tl.float64))
    scale = tl.where(scale > 0, scale, 1.0) * (1.0000002 / LARGEST)  # as float32 rounds a difference
    scale = tl.where(scale < float("inf"), scale, float("nan"))
    inverse = 1.0 / scale
    square = tl.zeros([LINES, WIDTH], tl.float64)
    apart = tl.zeros([LINES, WIDTH], tl.float64)
    for first in range(0, width, WIDTH):
        at = first + tl.arange(0, WIDTH)
        middle = tl.load(center + at, mask=at < n, other=0.0).to(tl.float64)[None, :]
        value = elements(source, line, at, n).to(tl.float64) * factor[:, None] - middle
        value *= inverse[:, None]
        shifted = tl.where(value == value, value, 0.0) + SHIFT
        near = shifted - SHIFT
        square += near * near
        apart += (value - near) * (value - near)
        number = shifted.to(tl.int64, bitcast=True).to(tl.int32)
        place = digits + to[:, None] * width + at[None, :]
        step = (queries + rows).to(tl.int64) * width
        inside = there[:, None] & (at < width)[None, :]
        for digit in tl.static_range(3, -1, -1):
            low = ((number + 128) & 255) - 128
            tl.store(place + digit * step, low.to(tl.int8), mask=inside)
            number = (number - low) >> 8
    lost = tl.sqrt(tl.sum(apart, axis=1)) * 2.86
    limit = tl.maximum(lost, tl.sqrt((n + 2).to(tl.float64)) * 0.93) * scale * 16777216.0
    tl.store(scales + to, scale, mask=there)
    tl.store(squares + to, tl.sum(square, axis=1) * scale * scale, mask=there)
    tl.store(limits + to, (limit * 1.0001).to(tl.float32), mask=there)


@jit
def in_range(value):  # type: ignore[no-untyped-def]
    """Whether float64 is from `LEAST` to `MOST`, by its upper half."""
    high = (value.to(tl.int64, bitcast=True) >> 32).to(tl.int32)
    return (high - LEAST).to(tl.uint32, bitcast=True) < MOST - LEAST


@jit
def ended(value, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """A square in that range as float32, and the distance. The GPU's own conversion takes several times as long.

    The root is that of the float32 below the square, and one step of Newton's that knows of the rest.
    """
    bits = value.to(tl.int64, bitcast=True)
    if FORM == "l2":
        high = ((bits >> 29) - (NARROWER << 23)).to(tl.int32)
        near, power = high.to(tl.float32, bitcast=True), (high & 0x7F800000).to(tl.float32, bitcast=True)
        rest = (bits & 0x1FFFFFFF).to(tl.int32).to(tl.float32) * (power * 2.220446049250313e-16)
        inverse = tl.rsqrt(near)
        root = near * inverse
        found = tl.fma(tl.fma(-root, root, near) + rest, 0.5 * inverse, root)
    else:
        near = (((bits + (1 << 28)) >> 29) - (NARROWER << 23)).to(tl.int32).to(tl.float32, bitcast=True)
        found = near * 0.5 if FORM == "cosine" else near
    return near, found


@jit_once("queries", "rows", "width")
def squares_kernel(  # type: ignore[no-untyped-def]
    out, flags, scales, squares, limits, digits, queries, rows, width,
    FORM: tl.constexpr, SIDE: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """A tile (SIDE, SIDE) of distances, `MARK` where they are in doubt; `flags` (tiles,) int32: whether one is.

    `digits` is a descriptor of blocks (SIDE, BK); it, scales, squares and limits are as `digits_kernel` leaves them.
    """
    down = tl.cdiv(queries, SIDE)
    line = (tl.program_id(0) % down) * SIDE
    first = (tl.program_id(0) // down) * SIDE
    q, r = line + tl.arange(0, SIDE), first + tl.arange(0, SIDE)
    plane = queries + rows
    first += queries
    c2 = tl.zeros([SIDE, SIDE], tl.int32)  # sums of products by the places of their digits: 1 + 1, 1 + 2, …
    c3, c4, c5, c6 = c2, c2, c2, c2
    for k in tl.range(0, width, BK, num_stages=STAGES):
        x1, x2 = digits.load([line, k]), digits.load([line + plane, k])
        x3, x4 = digits.load([line + 2 * plane, k]), digits.load([line + 3 * plane, k])
        y1, y2 = digits.load([first, k]).T, digits.load([first + plane, k]).T
        y3, y4 = digits.load([first + 2 * plane, k]).T, digits.load([first + 3 * plane, k]).T
        c2 = tl.dot(x1, y1, c2, out_dtype=tl.int32)
        c3 = tl.dot(x1, y2, c3, out_dtype=tl.int32)
        c4 = tl.dot(x1, y3, c4, out_dtype=tl.int32)
        c5 = tl.dot(x1, y4, c5, out_dtype=tl.int32)
        c3 = tl.dot(x2, y1, c3, out_dtype=tl.int32)
        c4 = tl.dot(x2, y2, c4, out_dtype=tl.int32)
        c5 = tl.dot(x2, y3, c5, out_dtype=tl.int32)
        c6 = tl.dot(x2, y4, c6, out_dtype=tl.int32)
        c4 = tl.dot(x3, y1, c4, out_dtype=tl.int32)
        c5 = tl.dot(x3, y2, c5, out_dtype=tl.int32)
        c6 = tl.dot(x3, y3, c6, out_dtype=tl.int32)
        c5 = tl.dot(x4, y1, c5, out_dtype=tl.int32)
        c6 = tl.dot(x4, y2, c6, out_dtype=tl.int32)
    whole = (c2.to(tl.int64) * 256 + c3) * 65536 + (c4.to(tl.int64) * 256 + c5) + (c6 >> 8)
    product = (whole + BIASED).to(tl.float64, bitcast=True) - BIAS  # twice it: a whole number stands for 2^24
    left, right = tl.minimum(q, queries - 1), tl.minimum(r, rows - 1) + queries
    factor = tl.load(scales + left)[:, None] * tl.load(scales + right)[None, :]
    value = tl.load(squares + left)[:, None] + tl.load(squares + right)[None, :] - product * factor
    far = tl.load(limits + left)[:, None] + tl.load(limits + right)[None, :]
    near, found = ended(value, FORM)
    good = in_range(value) & (near > far * far)
    corner = out + line.to(tl.int64) * rows + (first - queries)
    place = tl.arange(0, SIDE)[:, None] * rows + tl.arange(0, SIDE)[None, :]
    tl.store(corner + place, tl.where(good, found, MARK), mask=(q < queries)[:, None] & (r < rows)[None, :])
    tl.store(flags + tl.program_id(0), tl.max(tl.max(1 - good.to(tl.int32), axis=1), axis=0))
