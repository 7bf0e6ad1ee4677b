"""The Triton kernel that computes distances again from the elements where `digits` leaves them in doubt."""

from __future__ import annotations

from mlsys.distance.cross.digits import MARK
from mlsys.distance.language import jit, jit_once, tl


@jit_once("queries", "rows", "n")
def again_kernel(  # type: ignore[no-untyped-def]
    x, y, out, flags, queries, rows, n,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    SIDE: tl.constexpr, LINES: tl.constexpr, GROUP: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Compute marked distances from the elements, PAIRS at a time; a program for LINES rows of each of GROUP tiles."""
    PARTS: tl.constexpr = SIDE // LINES
    tiles = tl.cdiv(queries, SIDE) * tl.cdiv(rows, SIDE)
    first = (tl.program_id(0) // PARTS) * GROUP
    some = first + tl.arange(0, GROUP)
    if tl.max(tl.load(flags + some, mask=some < tiles, other=0), axis=0) > 0:
        for tile in range(first, tl.minimum(first + GROUP, tiles)):
            if tl.load(flags + tile) > 0:
                line = (tile % tl.cdiv(queries, SIDE)) * SIDE + (tl.program_id(0) % PARTS) * LINES
                column = (tile // tl.cdiv(queries, SIDE)) * SIDE
                settle(
                    x, y, out, line, column, queries, rows, n,
                    TERMS, FINISH, SUMS, ELEMENT, SIDE, LINES, PAIRS, BK,
                )  # fmt: skip


@jit
def settle(  # type: ignore[no-untyped-def]
    x, y, out, line, column, queries, rows, n,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    SIDE: tl.constexpr, LINES: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Compute the marked ones of (LINES, SIDE) distances, the first at `line` and `column`."""
    at = tl.arange(0, LINES * SIDE)
    line += at // SIDE
    column += at % SIDE
    inside = (line < queries) & (column < rows)
    marked = tl.load(out + line.to(tl.int64) * rows + column, mask=inside, other=0.0) == MARK
    place = tl.cumsum(marked.to(tl.int32), axis=0) - 1
    number = tl.sum(marked.to(tl.int32), axis=0)
    for first in range(0, number, PAIRS):
        slot = first + tl.arange(0, PAIRS)
        chosen = marked[:, None] & (place[:, None] == slot[None, :])
        q = tl.sum(tl.where(chosen, line[:, None], 0), axis=0).to(tl.int64)
        r = tl.sum(tl.where(chosen, column[:, None], 0), axis=0).to(tl.int64)
        a = tl.zeros([PAIRS, BK], tl.float64)
        b, c = a, a
        for k in range(0, n, BK):
            col = k + tl.arange(0, BK)
            known = (col < n)[None, :]
            u = tl.load(x + q[:, None] * n + col[None, :], mask=known, other=0).to(ELEMENT)
            v = tl.load(y + r[:, None] * n + col[None, :], mask=known, other=0).to(ELEMENT)
            terms = TERMS(u, v)
            a += tl.where(known, terms[0], 0.0)
            if SUMS == 3:
                b += tl.where(known, terms[1], 0.0)
                c += tl.where(known, terms[2], 0.0)
        found = FINISH(tl.sum(a, axis=1), tl.sum(b, axis=1), tl.sum(c, axis=1))
        tl.store(out + q * rows + r, found.to(tl.float32), mask=slot < number)
