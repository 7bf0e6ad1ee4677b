"""Triton kernels of a decoding step: a layer is five of them, where torch launches about thirty.

Each multiplies some rows with some of a weight's rows, and does on the way what stands before and after: the norm, the
rotation, the place in the cache, the activation, the sum.
"""

from __future__ import annotations

from mlsys.distance.language import jit, jit_once, tl
from mlsys.rag.generator.fused_product import product, wait


@jit
def embed(  # type: ignore[no-untyped-def]
    tokens, which, embedding, norm, hidden, scaled, squares, parts,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr, SEVERAL: tl.constexpr,
):  # fmt: skip
    """Each row's token as numbers; of several rows also what the first norm needs (see `linear_add`)."""
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    token = tl.load(tokens + tl.load(which + row))
    value = tl.load(embedding + token * WIDTH + at, mask=at < WIDTH, other=0.0)
    tl.store(hidden + row * WIDTH + at, value, mask=at < WIDTH)
    if SEVERAL:
        wide, part = value.to(tl.float32), tl.arange(0, PARTS)
        factor = tl.load(norm + at, mask=at < WIDTH, other=0.0).to(tl.float32)
        tl.store(scaled + row * WIDTH + at, (wide * factor).to(hidden.dtype.element_ty), mask=at < WIDTH)
        tl.store(
            squares + row * parts + part, tl.where(part == 0, tl.sum(wide * wide, 0), 0.0), mask=part < parts
        )


@jit_once("count")
def qkv(  # type: ignore[no-untyped-def]
    x, squares, parts, norm, weight, bias, head_norms, cosines, sines, queries, keys, values, slots, positions,
    count, none, epsilon, slot_size, head_size,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, DIM: tl.constexpr,
    BIASED: tl.constexpr, HEADED: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, AHEAD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Norm, queries, keys and values, rotation; keys and values go to their places. `COLS` of one head a program."""
    half: tl.constexpr = DIM // 2
    head, part = tl.program_id(1) // (DIM // COLS), tl.program_id(1) % (DIM // COLS)
    row, each = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    col = (
        head * DIM + (each % 2) * half + part * (COLS // 2) + each // 2
    )  # what turns together is side by side
    slot = tl.load(slots + row, mask=row < count, other=none)
    position = tl.load(positions + row, mask=row < count, other=0)
    at = part * (COLS // 2) + tl.arange(0, COLS // 2)
    turn = position[:, None] * half + at[None, :]
    cosine, sine = tl.load(cosines + turn).to(tl.float32), tl.load(sines + turn).to(tl.float32)
    found = product(
        x, squares, weight, norm, squares, parts, row, col, None, epsilon,
        WIDTH, DIM, 1, True, PARTS, ROWS, COLS, INNER, AHEAD, EARLY,
    )  # fmt: skip
    if BIASED:
        found += tl.load(bias + col)[None, :].to(tl.float32)
    low, high = tl.split(tl.reshape(found, (ROWS, COLS // 2, 2)))
    if head < QUERIES + KEYS:
        if HEADED:
            scale = tl.rsqrt((tl.sum(low * low, 1) + tl.sum(high * high, 1)) / DIM + epsilon)[:, None]
            own = head_norms + (head >= QUERIES) * DIM + at
            low *= scale * tl.load(own)[None, :].to(tl.float32)
            high *= scale * tl.load(own + half)[None, :].to(tl.float32)
        turned = low * cosine - high * sine
        high = high * cosine + low * sine
        low = turned
    kind: tl.constexpr = queries.dtype.element_ty
    if head < QUERIES:
        place = queries + row[:, None] * (QUERIES * DIM) + head * DIM + at[None, :]
        tl.store(place, low.to(kind))
        tl.store(place + half, high.to(kind))
    else:
        if head < QUERIES + KEYS:
            start = keys + (head - QUERIES) * head_size
        else:
            start = values + (head - QUERIES - KEYS) * head_size
        place = start + slot[:, None] * slot_size + position[:, None] * DIM + at[None, :]
        tl.store(place, low.to(kind), mask=(slot < none)[:, None])
        tl.store(place + half, high.to(kind), mask=(slot < none)[:, None])


@jit
def linear_add(  # type: ignore[no-untyped-def]
    x, ends, weight, hidden, norm, scaled, squares,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, AHEAD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """hidden += x @ weight; with SPLITS > 1 x is attention in spans, to be joined.

    Of several rows also `scaled`, times the weight of the `norm` that follows, and this program's part of their
    sums of `squares`.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    place = row[:, None] * COLUMNS + col[None, :]
    kind: tl.constexpr = hidden.dtype.element_ty
    found = product(
        x, ends, weight, x, ends, 1, row, col, hidden + place, 0.0,
        WIDTH, DIM, SPLITS, False, 1, ROWS, COLS, INNER, AHEAD, EARLY,
    ).to(kind)  # fmt: skip
    tl.store(hidden + place, found)
    if ROWS > 1:
        wide = found.to(tl.float32)
        tl.store(scaled + place, (wide * tl.load(norm + col)[None, :].to(tl.float32)).to(kind))
        tl.store(squares + row * tl.num_programs(1) + tl.program_id(1), tl.sum(wide * wide, 1))


@jit
def swiglu(  # type: ignore[no-untyped-def]
    x, squares, parts, norm, weight, out, epsilon,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, AHEAD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """out = silu(gate) * up of the normalised rows; weight (2 · COLUMNS, WIDTH) is gate's, then up's."""
    row, each = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    col = (each % 2) * COLUMNS + tl.program_id(1) * (COLS // 2) + each // 2
    found = product(
        x, squares, weight, norm, squares, parts, row, col, None, epsilon,
        WIDTH, 1, 1, True, PARTS, ROWS, COLS, INNER, AHEAD, EARLY,
    )  # fmt: skip
    gated, up = tl.split(tl.reshape(found, (ROWS, COLS // 2, 2)))
    at = tl.program_id(1) * (COLS // 2) + tl.arange(0, COLS // 2)
    found = gated / (1 + tl.exp(-gated)) * up
    tl.store(out + row[:, None] * COLUMNS + at[None, :], found.to(out.dtype.element_ty))


@jit_once("count")
def vocabulary(  # type: ignore[no-untyped-def]
    x, squares, parts, keep, norm, weight, logits, tops, places, count, epsilon,
    WIDTH: tl.constexpr, VOCABULARY: tl.constexpr, PARTS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, AHEAD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Logits of the normalised rows `keep`, and of each program's columns the largest and where it is."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    known, near = col < VOCABULARY, tl.minimum(col, VOCABULARY - 1)
    own = tl.load(keep + row, mask=row < count, other=0)
    found = product(
        x, squares, weight, norm, squares, parts, own, near, None, epsilon,
        WIDTH, 1, 1, True, PARTS, ROWS, COLS, INNER, AHEAD, EARLY,
    ).to(logits.dtype.element_ty)  # fmt: skip
    mask = (row < count)[:, None] & known[None, :]
    tl.store(logits + row[:, None] * VOCABULARY + col[None, :], found, mask=mask)
    top, place = tl.max(tl.where(known[None, :], found.to(tl.float32), float("-inf")), 1, return_indices=True)
    at = row * tl.num_programs(1) + tl.program_id(1)
    tl.store(tops + at, top)
    tl.store(places + at, tl.minimum(tl.program_id(1) * COLS + place, VOCABULARY - 1))


@jit
def argmax(tops, places, found, latest, given, blocks, BLOCKS: tl.constexpr, EARLY: tl.constexpr):  # type: ignore[no-untyped-def]
    """The token of the largest logit, the first of equal ones, of each row and as its slot's latest."""
    row, at = tl.program_id(0), tl.arange(0, BLOCKS)
    wait(EARLY)
    top = tl.load(tops + row * blocks + at, mask=at < blocks, other=float("-inf"))
    token = tl.load(places + row * blocks + tl.minimum(tl.argmax(top, 0), blocks - 1)).to(tl.int64)
    tl.store(found + row, token)
    tl.store(latest + tl.load(given + row), token)
