"""Launching the kernels of pairs of rows: how large a tile is, and when a row is cut into segments.

Triton's own launch is used here, which looks at every argument: strides and lengths that are multiples of 16 let a
thread load several elements at once.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance.language import INTERPRETED, tl
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.rows.kernels import rows_kernel, slope_kernel

TILE = {1: 4096, 3: 2048}  # elements a program holds at a time, by the metric's sums: what registers allow
SLOPE_TILE = 2048
LONGEST = 1024  # columns of a tile of several rows
NARROW = 128  # columns that a tile of rows of more has at least
FOLD = 4  # elements that a thread loads at once
PROGRAMS_A_PROCESSOR = 16
ENOUGH = 4  # so many times fewer programs still fill the GPU: longer rows are not cut


@dataclass(frozen=True)
class Tiles:
    """How rows are cut: tiles of (rows, columns), and segments of so many elements, one or several a row."""

    rows: int
    columns: int
    segment: int
    segments: int
    even: bool  # whether tiles end where rows end


def cut(count: int, n: int, tile: int, programs: int, whole: bool = False) -> Tiles:
    """The tiles of `tile` elements for `count` pairs of rows of n on a GPU that wants `programs` programs.

    whole: a tile holds whole rows of up to `LONGEST` elements. Else few of its columns stand beyond the rows' ends.
    """
    if n <= LONGEST:
        columns = max(FOLD, 1 << (n - 1).bit_length())
        if not whole:
            columns = _snug(n, columns, NARROW)
    elif n >= 4 * tile:
        columns = tile
    else:
        columns = _snug(n, LONGEST, LONGEST // 4)
    rows = tile // columns
    tiles = -(-count // rows)
    segments = 1
    if rows == 1 and ENOUGH * tiles < programs:
        segments = min(-(-n // (4 * columns)), -(-programs // tiles))
    segment = -(-n // segments)
    segment = -(-segment // columns) * columns
    return Tiles(rows, columns, segment, -(-n // segment), n % columns == 0)


def _snug(n: int, widest: int, narrowest: int) -> int:
    """The width that leaves the least of its multiples beyond n; of several such the widest."""
    widths = [widest]
    while widths[-1] > narrowest:
        widths.append(widths[-1] // 2)
    return min(widths, key=lambda width: (-(-n // width) * width, -width))


def distances(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x and y (B, n), of any strides, into out (B,) of float32 or float64."""
    _launch(x, y, metric, out, whole=False)


def _launch(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor, whole: bool) -> None:
    metric = for_dtype(metric, x.dtype == torch.float64)
    (count, n), device = x.shape, x.device
    tiles = cut(count, max(n, 1), TILE[metric.sums], _programs(device))
    split = tiles.segments > 1
    partials = torch.empty(
        metric.sums * count * tiles.segments if split else 0, dtype=torch.float64, device=device
    )
    align = _alignment(x, y)
    counters = torch.zeros(count if split else 0, dtype=torch.int32, device=device)
    with on(device):
        rows_kernel[(-(-count // tiles.rows) * tiles.segments,)](
            x, y, partials, counters, out, count, n // align, tiles.segment,
            *_strides(x, align), *_strides(y, align),
            **said_of(metric, x.dtype), ROWS=tiles.rows, COLS=tiles.columns, FOLD=FOLD, EVEN=tiles.even,
            SPLIT=split, WHOLE=whole, ALIGN=align,
        )  # fmt: skip


def slopes(
    weight: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    metric: Metric,
    of_x: bool,
    of_y: bool,
    value: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each element of x and y (B, n) changes its row's distance by, times weight (B,): (B, n) each, of x's dtype.

    value: the distances (B,), if they are known. Empty where it was not asked for. For metrics that state a `slope`.
    """
    count, n = x.shape
    left, right = (x.new_empty(x.shape if asked else 0) for asked in (of_x, of_y))
    wide = for_dtype(metric, x.dtype == torch.float64)
    given = value is not None and wide.slope_of_value
    needed = wide.slope_of_sums and not given
    tiles = cut(count, n, SLOPE_TILE, 0, whole=needed)
    inside = n <= tiles.columns
    align = _alignment(x, y)
    sums = torch.empty(0, dtype=torch.float64, device=x.device)
    if needed and not inside:
        sums = torch.empty(3, count, dtype=torch.float64, device=x.device)
        _launch(x, y, metric, sums, whole=True)
    known = sums if value is None else value.contiguous()
    with on(x.device):
        slope_kernel[(-(-count // tiles.rows) * -(-n // tiles.columns),)](
            x, y, weight.contiguous(), known, sums, left, right,
            count, n // align, *_strides(x, align), *_strides(y, align),
            **said_of(wide, x.dtype), SLOPE=wide.slope, ROWS=tiles.rows, COLS=tiles.columns,
            EVEN=tiles.even, NEEDED=needed, GIVEN=given, INSIDE=inside, X=of_x, Y=of_y, ALIGN=align,
        )  # fmt: skip
    return left, right


def _alignment(x: torch.Tensor, y: torch.Tensor) -> int:
    """The largest power of two, up to 16, of which a row's length and the strides from row to row are multiples."""
    return math.gcd(16, x.shape[1], x.stride(0), y.stride(0))


def _strides(rows: torch.Tensor, align: int) -> tuple[int, int]:
    return rows.stride(0) // align, rows.stride(1)


def said_of(metric: Metric, dtype: torch.dtype) -> dict[str, Any]:
    """What a kernel takes of a metric, for elements of `dtype`."""
    element = tl.float64 if dtype == torch.float64 else tl.float32
    return {"TERMS": metric.terms, "FINISH": metric.finish, "SUMS": metric.sums, "ELEMENT": element}


def _programs(device: torch.device) -> int:
    if device.type != "cuda":
        return 64  # the interpreter's, for tests
    return int(PROGRAMS_A_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count)


def on(device: torch.device) -> AbstractContextManager[Any]:
    """Kernels are launched on the current device; the interpreter's infinities and nans are results."""
    return np.errstate(all="ignore") if INTERPRETED else torch.cuda.device(device)
