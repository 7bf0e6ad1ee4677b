"""The product that the fused kernels share: rows, normalised on the way or joined from spans, times rows of a weight.

One row is multiplied by adding up, which reads a weight as fast as it comes; several are by `tl.dot`.

With `EARLY` a kernel is launched while the one before it still runs (CUDA's programmatic dependent launch, from compute
capability 9.0 on). It waits for that one's end before it reads what changes. Weights never do, so their first tile is
read before.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl


@jit
def wait(EARLY: tl.constexpr):  # type: ignore[no-untyped-def]
    """Until the kernel before has ended; the next may be launched."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()


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
def product(  # type: ignore[no-untyped-def]
    x, ends, weight, norm, row, col, epsilon, WIDTH: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr,
    NORMED: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """float32 (ROWS, COLS): `row` of x (·, WIDTH), normalised before where NORMED, times `col` of weight (·, WIDTH)."""
    inner = tl.arange(0, INNER)
    squares = tl.zeros((ROWS, INNER), tl.float32)
    whole: tl.constexpr = WIDTH % INNER == 0
    if ROWS == 1:
        sums = tl.zeros((COLS, INNER), tl.float32)
        for start in tl.static_range(0, WIDTH, INNER):
            at = start + inner
            there = (at < WIDTH)[None, :]
            tile = _piece(weight + col[:, None] * WIDTH + at[None, :], there, whole)
            if start == 0:
                wait(EARLY)
            if SPLITS > 1:
                value = _joined(x, ends, row, at, there, WIDTH, DIM, SPLITS)
            else:
                value = _piece(x + row[:, None] * WIDTH + at[None, :], there, whole).to(tl.float32)
            if NORMED:
                squares += value * value
                value *= _piece(norm + at[None, :], there, whole).to(tl.float32)
            sums += tile.to(tl.float32) * value
        found = tl.sum(sums, 1)[None, :]
    else:
        wait(EARLY)
        found = tl.zeros((ROWS, COLS), tl.float32)
        for start in range(0, WIDTH, INNER):
            at = start + inner
            there = (at < WIDTH)[None, :]
            tile = _piece(weight + col[:, None] * WIDTH + at[None, :], there, whole)
            if SPLITS > 1:
                value = _joined(x, ends, row, at, there, WIDTH, DIM, SPLITS).to(tile.dtype)
            else:
                value = _piece(x + row[:, None] * WIDTH + at[None, :], there, whole)
            if NORMED:
                wide = value.to(tl.float32)
                squares += wide * wide
                value = (wide * _piece(norm + at[None, :], there, whole).to(tl.float32)).to(tile.dtype)
            found = tl.dot(value, tl.trans(tile), found, input_precision="ieee")
    if NORMED:
        found *= tl.rsqrt(tl.sum(squares, 1) / WIDTH + epsilon)[:, None]
    return found
