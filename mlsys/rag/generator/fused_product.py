"""The product that the fused kernels share: rows, normalised on the way or joined from spans, times rows of a weight.

One row is multiplied by adding up, which reads a weight as fast as it comes; several are by `tl.dot`.

Several rows come multiplied with the norm's weight already, and with parts of the sum of their squares: whoever wrote
them did that once, and here are nothing but products.

With `EARLY` a kernel is launched while the one before it still runs (CUDA's programmatic dependent launch, from compute
capability 9.0 on). It waits for that one's end before it reads what changes. Weights never do, so their first tile is
read before, or with `AHEAD` all that a program needs is brought near: some kernels wait at any time, so that the memory
is busy while they do.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl

LARGE = tl and tl.constexpr(64)  # rows of a tile whose registers are full until its end


@jit
def wait(EARLY: tl.constexpr):  # type: ignore[no-untyped-def]
    """Until the kernel before has ended; the next may be launched."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()


@jit
def fetch(place):  # type: ignore[no-untyped-def]
    """Bring what is there to the L2 cache, and wait for nothing."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [place.to(tl.int64)],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@jit
def _fetch_rows(weight, col, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """`col` of weight (·, WIDTH)."""
    line: tl.constexpr = 1024 // weight.dtype.element_ty.primitive_bitwidth  # numbers in 128 bytes
    at = tl.arange(0, 8) * line
    for start in range(0, WIDTH, 8 * line):
        fetch(weight + col[:, None] * WIDTH + tl.minimum(start + at, WIDTH - 1)[None, :])


@jit
def _piece(place, there, WHOLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """What is there; zeros elsewhere. With WHOLE all is."""
    return tl.load(place) if WHOLE else tl.load(place, mask=there, other=0.0)


@jit
def _joined(  # type: ignore[no-untyped-def]
    parts, ends, row, at, there, WIDTH: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr
):  # fmt: skip
    """Attention (rows, at) from that over `SPLITS` spans of keys and the logarithms of their sums."""
    first = ends + (row * SPLITS)[:, None] * (WIDTH // DIM) + (at // DIM)[None, :]
    highest = tl.load(first, mask=there, other=0.0)
    for split in tl.static_range(1, SPLITS):
        highest = tl.maximum(highest, tl.load(first + split * (WIDTH // DIM), mask=there, other=0.0))
    total, found = tl.zeros_like(highest), tl.zeros_like(highest)
    place = parts + (row * SPLITS)[:, None] * WIDTH + at[None, :]
    for split in tl.static_range(SPLITS):
        weight = tl.exp(tl.load(first + split * (WIDTH // DIM), mask=there, other=0.0) - highest)
        total += weight
        found += weight * tl.load(place + split * WIDTH, mask=there, other=0.0)
    return found / total


@jit
def _parts(squares, row, parts, PARTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """(rows, PARTS) of which the first `parts` are there."""
    part = tl.arange(0, PARTS)
    return tl.load(squares + row[:, None] * parts + part[None, :], mask=(part < parts)[None, :], other=0.0)


@jit
def product(  # type: ignore[no-untyped-def]
    x, ends, weight, norm, squares, parts, row, col, before, epsilon,
    WIDTH: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr, NORMED: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, AHEAD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """float32 (ROWS, COLS): `row` of x (·, WIDTH), normalised where NORMED, times `col` of weight (·, WIDTH).

    What is at `before`, places (ROWS, COLS) or None, is added. Several rows to be normalised are times `norm` already;
    `squares` (·, parts) add up to their sums of squares. One row may come as attention in `SPLITS` spans.
    """
    inner = tl.arange(0, INNER)
    whole: tl.constexpr = WIDTH % INNER == 0
    if AHEAD and EARLY:
        _fetch_rows(weight, col, WIDTH)
    if ROWS == 1:
        summed = tl.zeros((ROWS, INNER), tl.float32)
        sums = tl.zeros((COLS, INNER), tl.float32)
        for start in tl.static_range(0, WIDTH, INNER):
            at = start + inner
            there = (at < WIDTH)[None, :]
            tile = _piece(weight + col[:, None] * WIDTH + at[None, :], there, whole)
            if start == 0:
                wait(EARLY)
                first = 0.0 if before is None else tl.load(before).to(tl.float32)
            if SPLITS > 1:
                value = _joined(x, ends, row, at, there, WIDTH, DIM, SPLITS)
            else:
                value = _piece(x + row[:, None] * WIDTH + at[None, :], there, whole).to(tl.float32)
            if NORMED:
                summed += value * value
                value *= _piece(norm + at[None, :], there, whole).to(tl.float32)
            sums += tile.to(tl.float32) * value
        found = first + tl.sum(sums, 1)[None, :]
    else:
        wait(EARLY)
        if NORMED and ROWS < LARGE:
            summed = _parts(squares, row, parts, PARTS)
        found = tl.zeros((ROWS, COLS), tl.float32) if before is None else tl.load(before).to(tl.float32)
        for start in range(0, WIDTH, INNER):
            at = start + inner
            there = (at < WIDTH)[None, :]
            tile = _piece(weight + col[:, None] * WIDTH + at[None, :], there, whole)
            value = _piece(x + row[:, None] * WIDTH + at[None, :], there, whole)
            found = tl.dot(value, tl.trans(tile), found, input_precision="ieee")
        if NORMED and ROWS >= LARGE:
            summed = _parts(squares, row, parts, PARTS)
    if NORMED:
        found *= tl.rsqrt(tl.sum(summed, 1) / WIDTH + epsilon)[:, None]
    return found
