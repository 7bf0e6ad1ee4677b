"""How large a piece of a product each program of the fused kernels takes, by how many rows a step has.

One row is bound by how fast weights come: a program reads as much of some columns as there is room for. With more rows
the pieces are for tensor cores, as large as leaves every multiprocessor something to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

HEIGHTS = ((32, 16), (128, 32), (512, 64))  # up to so many rows, a tile has so many
TALLEST = 128  # with more
ALONE = 8192  # numbers of a weight that a program holds at once for one row
LONGEST_ALONE = 2048  # of which in one of its columns
INNER_BYTES = 128  # of a row that `tl.dot` takes at once


class Shape(TypedDict):
    """As the kernels name it."""

    ROWS: int
    COLS: int
    INNER: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class Product:
    """(rows, width) times (columns, width)^T. A program's columns divide `span`, for one row `least` or more."""

    rows: int
    width: int
    columns: int
    span: int
    item_bytes: int
    least: int = 2

    def shape(self, processors: int) -> Shape:
        """For a device of so many multiprocessors."""
        return self._alone(processors) if self.rows == 1 else self._several(processors)

    def _alone(self, processors: int) -> Shape:
        inner = min(LONGEST_ALONE, power_above(self.width))
        cols = min(ALONE // inner, power(self.span))
        while cols > self.least and self.columns // cols < processors:
            cols //= 2
        return {"ROWS": 1, "COLS": cols, "INNER": inner, "num_warps": 4, "num_stages": 1}

    def _several(self, processors: int) -> Shape:
        rows = next((tall for most, tall in HEIGHTS if self.rows <= most), TALLEST)
        inner = min(INNER_BYTES // self.item_bytes, power(self.width))
        cols = min(128, power(self.span))
        while cols > 16 and self.columns // cols * -(-self.rows // rows) < processors:
            cols //= 2
        warps = 8 if rows * cols >= 64 * 128 else 4
        return {"ROWS": rows, "COLS": cols, "INNER": inner, "num_warps": warps, "num_stages": 4}


def power(number: int) -> int:
    """The largest power of two that divides it."""
    return number & -number


def power_above(number: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << (number - 1).bit_length()


def splits(rows: int, heads: int, processors: int) -> int:
    """Into how many spans a slot's keys are divided, so that few rows keep the device busy."""
    return max(1, min(8, power_below(processors // (rows * heads))))


def power_below(number: int) -> int:
    """The largest power of two that is not more; 1 at least."""
    return 1 << max(0, number.bit_length() - 1)
