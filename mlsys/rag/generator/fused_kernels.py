"""Triton kernels of a decoding step: a layer is five of them, where torch launches about thirty.

Each multiplies some rows with some of a weight's rows, and does on the way what stands before and after: the norm, the
rotation, the place in the cache, the activation, the sum. One row is multiplied by adding up, several by `tl.dot`.

With `EARLY` a kernel is launched while the one before it still runs (CUDA's programmatic dependent launch, from compute
capability 9.0 on). It waits for that one's end before it reads what changes; weights never do, so their first tile
is read before.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl


@jit
def _wait(EARLY: tl.constexpr):  # type: ignore[no-untyped-def]
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
def _product(  # type: ignore[no-untyped-def]
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
                _wait(EARLY)
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
        _wait(EARLY)
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


@jit
def embed(tokens, which, embedding, hidden, WIDTH: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Each row's token as numbers."""
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    token = tl.load(tokens + tl.load(which + row))
    tl.store(
        hidden + row * WIDTH + at, tl.load(embedding + token * WIDTH + at, mask=at < WIDTH), mask=at < WIDTH
    )


@jit
def qkv(  # type: ignore[no-untyped-def]
    hidden, norm, weight, bias, head_norms, cosines, sines, queries, keys, values, slots, positions,
    count, none, epsilon, slot_size, head_size,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, DIM: tl.constexpr,
    BIASED: tl.constexpr, HEADED: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Norm, queries, keys and values, rotation; keys and values go to their places. `COLS` of one head a program."""
    half: tl.constexpr = DIM // 2
    head, part = tl.program_id(1) // (DIM // COLS), tl.program_id(1) % (DIM // COLS)
    row, each = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    col = (
        head * DIM + (each % 2) * half + part * (COLS // 2) + each // 2
    )  # what turns together is side by side
    found = _product(
        hidden, hidden, weight, norm, row, col, epsilon, WIDTH, DIM, 1, True, ROWS, COLS, INNER, EARLY
    )
    if BIASED:
        found += tl.load(bias + col)[None, :].to(tl.float32)
    low, high = tl.split(tl.reshape(found, (ROWS, COLS // 2, 2)))
    at = part * (COLS // 2) + tl.arange(0, COLS // 2)
    slot = tl.load(slots + row, mask=row < count, other=none)
    position = tl.load(positions + row, mask=row < count, other=0)
    if head < QUERIES + KEYS:
        if HEADED:
            scale = tl.rsqrt((tl.sum(low * low, 1) + tl.sum(high * high, 1)) / DIM + epsilon)[:, None]
            own = head_norms + (head >= QUERIES) * DIM + at
            low *= scale * tl.load(own)[None, :].to(tl.float32)
            high *= scale * tl.load(own + half)[None, :].to(tl.float32)
        turn = position[:, None] * half + at[None, :]
        cosine, sine = tl.load(cosines + turn).to(tl.float32), tl.load(sines + turn).to(tl.float32)
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
def attend(  # type: ignore[no-untyped-def]
    queries, keys, values, out, ends, slots, positions, none, scale, slot_size, head_size,
    QUERIES: tl.constexpr, GROUPS: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One row's attention to one of `SPLITS` spans of its slot, all queries of a key head together."""
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    _wait(EARLY)
    slot = tl.load(slots + row)
    length = tl.where(slot < none, tl.load(positions + row) + 1, 0).to(tl.int32)
    span = tl.cdiv(tl.cdiv(length, BLOCK), SPLITS) * BLOCK
    group, at, key = tl.arange(0, ROWS), tl.arange(0, DIM), tl.arange(0, BLOCK)
    real = (group < GROUPS)[:, None]
    place = (head * GROUPS + group)[:, None] * DIM + at[None, :]
    query = tl.load(queries + row * (QUERIES * DIM) + place, mask=real, other=0.0)
    highest = tl.full((ROWS,), float("-inf"), tl.float32)
    total, found = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS, DIM), tl.float32)
    own = slot * slot_size + head * head_size
    stop = tl.minimum(split * span + span, length)
    for begin in range(split * span, stop, BLOCK):
        there = begin + key
        each = own + there[:, None] * DIM + at[None, :]
        block = tl.load(keys + each, mask=(there < stop)[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(block), input_precision="ieee") * scale
        scores = tl.where((there < stop)[None, :], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        shrink, weights = tl.exp(highest - higher), tl.exp(scores - higher[:, None])
        block = tl.load(values + each, mask=(there < stop)[:, None], other=0.0)
        total = total * shrink + tl.sum(weights, 1)
        found = tl.dot(weights.to(block.dtype), block, found * shrink[:, None], input_precision="ieee")
        highest = higher
    empty = total == 0  # a span without keys, or a row that is none
    found /= tl.where(empty, 1.0, total)[:, None]
    start = row * SPLITS + split
    tl.store(out + start * (QUERIES * DIM) + place, found.to(out.dtype.element_ty), mask=real)
    if SPLITS > 1:
        end = tl.where(empty, -1e30, highest + tl.log(tl.where(empty, 1.0, total)))
        tl.store(ends + start * QUERIES + head * GROUPS + group, end, mask=group < GROUPS)


@jit
def linear_add(  # type: ignore[no-untyped-def]
    x, ends, weight, hidden, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """hidden += x @ weight; with SPLITS > 1 x is attention in spans, to be joined."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    found = _product(x, ends, weight, x, row, col, 0.0, WIDTH, DIM, SPLITS, False, ROWS, COLS, INNER, EARLY)
    place = hidden + row[:, None] * COLUMNS + col[None, :]
    tl.store(place, (tl.load(place).to(tl.float32) + found).to(hidden.dtype.element_ty))


@jit
def swiglu(  # type: ignore[no-untyped-def]
    hidden, norm, weight, out, epsilon, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """out = silu(gate) * up of the normalised rows; weight (2 · COLUMNS, WIDTH) is gate's, then up's."""
    row, each = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    col = (each % 2) * COLUMNS + tl.program_id(1) * (COLS // 2) + each // 2
    found = _product(
        hidden, hidden, weight, norm, row, col, epsilon, WIDTH, 1, 1, True, ROWS, COLS, INNER, EARLY
    )
    gated, up = tl.split(tl.reshape(found, (ROWS, COLS // 2, 2)))
    at = tl.program_id(1) * (COLS // 2) + tl.arange(0, COLS // 2)
    found = gated / (1 + tl.exp(-gated)) * up
    tl.store(out + row[:, None] * COLUMNS + at[None, :], found.to(out.dtype.element_ty))


@jit
def vocabulary(  # type: ignore[no-untyped-def]
    hidden, keep, norm, weight, logits, tops, places, count, epsilon, WIDTH: tl.constexpr, VOCABULARY: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Logits of the normalised rows `keep`, and of each program's columns the largest and where it is."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    known, near = col < VOCABULARY, tl.minimum(col, VOCABULARY - 1)
    own = tl.load(keep + row, mask=row < count, other=0)
    found = _product(
        hidden, hidden, weight, norm, own, near, epsilon, WIDTH, 1, 1, True, ROWS, COLS, INNER, EARLY
    ).to(logits.dtype.element_ty)
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
    _wait(EARLY)
    top = tl.load(tops + row * blocks + at, mask=at < blocks, other=float("-inf"))
    token = tl.load(places + row * blocks + tl.minimum(tl.argmax(top, 0), blocks - 1)).to(tl.int64)
    tl.store(found + row, token)
    tl.store(latest + tl.load(given + row), token)
