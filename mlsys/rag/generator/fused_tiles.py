"""How large a piece of a product each program of the fused kernels takes, by how many rows a step has.

One row is bound by how fast weights come: a program reads as much of some columns as there is room for. With more rows
the pieces are for tensor cores and are those of a table that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

# Rows, columns, inner size, warps and stages of each product's tile, by rows of the step: the fastest measured for
# smollm2-135m in bfloat16 (experiments/h100_serving/tiles.py).
MEASURED = {
    32: {
        "qkv": (16, 16, 64, 1, 4),
        "out": (16, 16, 64, 2, 4),
        "swiglu": (16, 64, 128, 4, 4),
        "down": (32, 16, 256, 2, 4),
        "vocabulary": (32, 128, 128, 4, 3),
    },
    128: {
        "qkv": (16, 64, 128, 4, 4),
        "out": (64, 16, 64, 4, 4),
        "swiglu": (16, 128, 128, 4, 3),
        "down": (64, 16, 256, 4, 3),
        "vocabulary": (64, 128, 64, 8, 4),
    },
}
MOST_ROWS = max(MEASURED)  # with more torch's kernels are taken
ALONE = 8192  # numbers of a weight that a program holds at once for one row
LONGEST_ALONE = 2048  # of which in one of its columns


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

    name: str
    rows: int
    width: int
    columns: int
    span: int
    item_bytes: int
    least: int = 2

    def shape(self, processors: int) -> Shape:
        """For a device of so many multiprocessors."""
        return self._alone(processors) if self.rows == 1 else self._several()

    def _alone(self, processors: int) -> Shape:
        inner = min(LONGEST_ALONE, power_above(self.width))
        cols = min(ALONE // inner, power(self.span))
        while cols > self.least and self.columns // cols < processors:
            cols //= 2
        return {"ROWS": 1, "COLS": cols, "INNER": inner, "num_warps": 4, "num_stages": 1}

    def _several(self) -> Shape:
        most = next((most for most in MEASURED if self.rows <= most), MOST_ROWS)
        rows, cols, inner, warps, stages = MEASURED[most][self.name]
        inner = min(inner * 2 // self.item_bytes, power_above(self.width))
        return {
            "ROWS": rows,
            "COLS": min(cols, power(self.span)),
            "INNER": inner,
            "num_warps": warps,
            "num_stages": stages,
        }


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
