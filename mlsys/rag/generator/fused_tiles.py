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
    16: {
        "qkv": (16, 16, 64, 1, 4),
        "out": (16, 16, 64, 1, 4),
        "swiglu": (16, 16, 64, 1, 4),
        "down": (16, 16, 256, 2, 4),
    },
    32: {
        "qkv": (16, 16, 64, 1, 4),
        "out": (16, 16, 64, 1, 4),
        "swiglu": (16, 64, 128, 4, 4),
        "down": (32, 16, 256, 2, 4),
    },
    160: {
        "qkv": (64, 32, 64, 4, 4),
        "out": (64, 16, 256, 4, 4),
        "swiglu": (128, 32, 64, 4, 4),
        "down": (64, 16, 256, 4, 4),
    },
    1024: {
        "qkv": (64, 64, 64, 4, 4),
        "out": (64, 64, 64, 4, 4),
        "swiglu": (128, 64, 64, 4, 4),
        "down": (128, 32, 64, 4, 4),
    },
    1 << 30: {
        "qkv": (128, 64, 64, 4, 4),
        "out": (128, 64, 64, 4, 4),
        "swiglu": (128, 128, 64, 8, 3),
        "down": (128, 64, 64, 8, 4),
    },
}
# Of a layer of more than `SMALL` weights, measured for llama-3.2-1b. The memory is its bound: to ask early for weights
# only makes others wait.
_LARGE_FEW = {
    "qkv": (32, 32, 256, 4, 3),
    "out": (32, 16, 256, 2, 4),
    "swiglu": (32, 32, 256, 4, 3),
    "down": (32, 64, 256, 4, 3),
}
LARGE = {
    16: {**_LARGE_FEW, "vocabulary": (16, 16, 256, 2, 4)},
    32: {**_LARGE_FEW, "vocabulary": (32, 16, 256, 2, 4)},
    256: {
        "qkv": (64, 64, 256, 4, 3),
        "out": (64, 64, 256, 4, 3),
        "swiglu": (128, 64, 64, 4, 4),
        "down": (64, 32, 256, 4, 3),
        "vocabulary": (128, 128, 64, 8, 4),
    },
}
VOCABULARY = (32, 128, 64, 4, 4)  # elsewhere, at any number of rows: each tile more is a kernel to compile
SMALL, SMALL_WORK = 10_000_000, 30_000_000_000  # weights of a layer; those times rows
LARGE_ROWS = 256  # of larger layers
ALONE = 8192  # numbers of a weight that a program holds at once for one row
FEW = 192  # programs of attention up to which small blocks of keys were measured to be faster
SHARED = 232_448  # bytes a program may have for its stages, on the cards that were measured
LONGEST_ALONE = 2048  # of which in one of its columns


class Shape(TypedDict):
    """As the kernels name it."""

    ROWS: int
    COLS: int
    INNER: int
    AHEAD: bool  # its weights are fetched before it may begin
    num_warps: int
    num_stages: int


class Span(TypedDict):
    """Of attention, as its kernel names it."""

    BLOCK: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class Product:
    """(rows, width) times (columns, width)^T. A program's columns divide `span`, for one row `least` or more.

    whole: they are all of a span. large: its layer has more than `SMALL` weights.
    """

    name: str
    rows: int
    width: int
    columns: int
    span: int
    item_bytes: int
    least: int = 2
    large: bool = False
    whole: bool = False

    def shape(self, processors: int, shared: int = SHARED) -> Shape:
        """For a device of so many multiprocessors that have so many bytes of shared memory."""
        return self._alone(processors) if self.rows == 1 else self._several(shared)

    def _alone(self, processors: int) -> Shape:
        inner = min(LONGEST_ALONE, power_above(self.width))
        cols = min(ALONE // inner, power(self.span))
        while cols > self.least and self.columns // cols < processors:
            cols //= 2
        if self.whole:
            cols, inner = self.span, min(inner, max(1, ALONE // self.span))
        return {"ROWS": 1, "COLS": cols, "INNER": inner, "AHEAD": False, "num_warps": 4, "num_stages": 1}

    def _several(self, shared: int) -> Shape:
        tables = (LARGE, MEASURED) if self.large else (MEASURED,)
        fitting = (tiles for table in tables for most, tiles in table.items() if self.rows <= most)
        rows, cols, inner, warps, stages = next(fitting).get(self.name, VOCABULARY)
        inner = min(inner * 2 // self.item_bytes, power_above(self.width))
        cols = self.span if self.whole else min(cols, power(self.span))
        stages = min(stages, shared // ((rows + cols) * inner * self.item_bytes))
        return {
            "ROWS": rows,
            "COLS": cols,
            "INNER": inner,
            "AHEAD": not self.large or self.name == "vocabulary",
            "num_warps": warps,
            "num_stages": stages,
        }


def most_rows(weights: int) -> int:
    """Rows up to which a step is faster by these kernels than by torch's, where a layer has so many weights.

    Measured: 8192 rows at 3.5 million, where torch's step is launches. At 61 million it is 256 rows, which took 2.46 ms
    instead of 2.67, and not 8192, which took twice the time.
    """
    return SMALL_WORK // weights if weights <= SMALL else LARGE_ROWS


def power(number: int) -> int:
    """The largest power of two that divides it."""
    return number & -number


def power_above(number: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << (number - 1).bit_length()


def splits(heads: int, processors: int) -> int:
    """Into how many spans the keys of one row's slot are divided, so that it keeps the device busy.

    Of several rows each program that multiplies them would join their spans anew: eight answers took 93 ms, 32 took 60.
    """
    return 8 if processors // heads >= 4 else 1


def span(programs: int, spans: int, key_bytes: int, shared: int = SHARED) -> Span:
    """How many keys attend at once: few where they are divided, all of a short slot where programs keep it busy."""
    if spans > 1:
        return {"BLOCK": 32, "num_warps": 4, "num_stages": 3}
    block = min(64 if programs <= FEW else 256, power_below(shared // (7 * key_bytes)))
    return {"BLOCK": block, "num_warps": 4 if block < 256 else 8, "num_stages": 3 if block <= 64 else 2}


def power_below(number: int) -> int:
    """The largest power of two that is not more; 1 at least."""
    return 1 << max(0, number.bit_length() - 1)
