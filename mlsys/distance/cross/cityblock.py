"""l1 of all pairs on a GPU: an addition for the difference, one for the sum, and little else.

A thread holds neighbouring rows of y for several of x, so that what it reads serves several pairs. The rows are put
into tiles first, of one layout whatever their number and length: the kernel is compiled once, with all steps known.
"""

from __future__ import annotations

import torch

from mlsys.distance.language import jit, jit_once, tl
from mlsys.distance.search.kernels.launch import compiled, kinds, placed

TILE = (64, 128)  # lines of x and of y
WARPS = 16
CHUNK = 32  # absolute differences added in float32
WIDTH = 32  # columns that a program puts into tiles


@jit_once("count", "n", "fours")
def tiled_kernel(  # type: ignore[no-untyped-def]
    rows, out, count, n, fours, LINES: tl.constexpr, WIDTH: tl.constexpr, TURNED: tl.constexpr
):
    """Rows (count, n) in tiles of LINES, in float32 with zeros for what is missing: (tiles, fours, LINES, 4), or with
    `TURNED` (tiles, 4 · fours, LINES). A program for WIDTH columns of a tile, which begin at a multiple of WIDTH.
    """
    parts = tl.cdiv(fours * 4, WIDTH)
    tile = tl.program_id(0) // parts
    line = tl.arange(0, LINES)[:, None]
    at = (tl.program_id(0) % parts) * WIDTH + tl.arange(0, WIDTH)[None, :]
    row = tile * LINES + line
    value = tl.load(rows + row.to(tl.int64) * n + at, mask=(row < count) & (at < n), other=0.0).to(tl.float32)
    target = out + tile.to(tl.int64) * (fours * (4 * LINES))
    if TURNED:
        tl.store(
            target + tl.trans(at) * LINES + tl.trans(line), tl.trans(value), mask=tl.trans(at) < fours * 4
        )
    else:
        tl.store(target + (at // 4 * LINES + line) * 4 + at % 4, value, mask=at < fours * 4)


@jit
def four_more(p, s, q, r, BM: tl.constexpr, BN: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sums of four absolute differences (BM, BN), of elements at p + q and s + r."""
    a = tl.load(p + q[:, None] * 4 + tl.arange(0, 4)[None, :])
    even, odd = tl.split(tl.reshape(a, [BM, 2, 2]))
    a0, a2 = tl.split(even)
    a1, a3 = tl.split(odd)
    left = tl.abs(a0[:, None] - tl.load(s + r)[None, :]) + tl.abs(a1[:, None] - tl.load(s + BN + r)[None, :])
    right = tl.abs(a2[:, None] - tl.load(s + 2 * BN + r)[None, :])
    return left + (right + tl.abs(a3[:, None] - tl.load(s + 3 * BN + r)[None, :]))


@jit_once("queries", "rows", "chunks")
def cityblock_kernel(  # type: ignore[no-untyped-def]
    out, zeros, x, y, queries, rows, chunks,
    BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Distances (Q, N) of float32 rows in tiles, see `tiled_kernel`: x of BM lines, y of BN, turned, CHUNK · chunks
    columns each.

    CHUNK differences are added in float32 and the chunks in float64: the rounding of few is averaged out among many.
    Sums start from `zeros` (BN,) in memory: that load has the layout in which a thread holds neighbouring columns of
    several lines, and the loop keeps it.
    """
    down = tl.cdiv(queries, BM)
    line, tile = tl.program_id(0) % down, tl.program_id(0) // down
    q, r = tl.arange(0, BM), tl.arange(0, BN)
    p = x + line.to(tl.int64) * chunks * (CHUNK * BM)
    s = y + tile.to(tl.int64) * chunks * (CHUNK * BN)
    total = tl.load(zeros + q[:, None] * 0 + r[None, :]).to(tl.float64)
    for _ in range(chunks):
        part = four_more(p, s, q, r, BM, BN)
        for column in tl.static_range(4, CHUNK, 4):
            part += four_more(p + column * BM, s + column * BN, q, r, BM, BN)
        total += part.to(tl.float64)
        p += CHUNK * BM
        s += CHUNK * BN
    q += line * BM
    r += tile * BN
    inside = (q < queries)[:, None] & (r < rows)[None, :]
    tl.store(out + q.to(tl.int64)[:, None] * rows + r[None, :], total.to(tl.float32), mask=inside)


def computed(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
    """The l1 distance of each row of x (Q, n) to each of y (N, n), not of float64, into out (Q, N) float32."""
    queries, rows, chunks = len(x), len(y), max(1, -(-x.shape[1] // CHUNK))
    left, right = _tiled(x, TILE[0], chunks, turned=False), _tiled(y, TILE[1], chunks, turned=True)
    zeros = torch.zeros(TILE[1], dtype=torch.float32, device=x.device)
    kernel = compiled(cityblock_kernel, WARPS, kinds(left, right), BM=TILE[0], BN=TILE[1], CHUNK=CHUNK)
    tiles = -(-queries // TILE[0]) * -(-rows // TILE[1])
    kernel.bind(tiles, out, zeros, left, right, queries, rows, chunks)()


def _tiled(rows: torch.Tensor, lines: int, chunks: int, turned: bool) -> torch.Tensor:
    """Rows in tiles of so many lines: see `tiled_kernel`."""
    rows = placed(rows.contiguous())
    (count, n), columns = rows.shape, chunks * CHUNK
    tiles = -(-count // lines)
    made = torch.empty(tiles * columns * lines, dtype=torch.float32, device=rows.device)
    kernel = compiled(tiled_kernel, 4, kinds(rows, made), LINES=lines, WIDTH=WIDTH, TURNED=turned)
    kernel.bind(tiles * -(-columns // WIDTH), rows, made, count, n, columns // 4)()
    return made
