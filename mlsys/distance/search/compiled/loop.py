"""The loop over rows that Numba compiles: score a tile, keep what may be among the best.

A module of its own because only it and `registers` need Numba to be there.

What the loop closes over, with its code, names it in Numba's cache and so must be the same in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from mlsys.distance.search.compiled.registers import FLOAT32, score_tile, widen

SIGNATURE = (
    "void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, "
    "float32[:, ::1], int64[:, ::1], int64[::1], float32[::1], float32[::1], int64)"
)


@register_jitable
def keep_best(scores, numbers, m):  # type: ignore[no-untyped-def]
    """Move the m best scores and their numbers to the front; the least of them (Hoare's quickselect)."""
    low, high = 0, len(scores) - 1
    while low < high:
        pivot = scores[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                numbers[i], numbers[j] = numbers[j], numbers[i]
                i += 1
                j -= 1
        if m - 1 <= j:
            high = j
        elif m - 1 >= i:
            low = i
        else:
            break
    return scores[:m].min()


def scanner(height: int, width: int, cityblock: int, kind: int) -> Callable[..., Any]:
    """The function to compile, for tiles of `height` rows and `width` queries and rows stored as `kind`."""
    size = (4, 2, 2, 1)[kind]

    def scan(  # type: ignore[no-untyped-def]
        rows, dim, first, last, span, panels, count, panel_bytes, scale, scale_step, bias, bias_step,
        scores, numbers, filled, least, wide, m,
    ):  # fmt: skip
        """Score rows [first, last), at least `height`, against `count` panels; `span` of them stay in the cache.

        scores, numbers: (queries, room), of which `filled` (queries,) are in use. No score left out is above `least`.
        wide: room for `span + height` rows of float32 where they are stored as less. It is the caller's: Numba frees
        what only an address is taken of.
        """
        step = dim * 4
        tile, passed = np.empty(height * width, np.float32), np.empty(height, np.int64)
        for block in range(first, last, span):
            end = min(block + span, last)
            base = rows
            if kind != FLOAT32:
                start = min(block, last - height)
                widen(rows + start * dim * size, wide.ctypes.data, (end - start) * dim, kind)
                base = wide.ctypes.data - start * step
            for panel in range(count):
                line = panel * width
                for row in range(block, end, height):
                    at = min(row, last - height)
                    found = score_tile(
                        base + at * step, step, dim, panels + panel * panel_bytes,
                        scale + at * scale_step, scale_step, bias + at * bias_step, bias_step,
                        least.ctypes.data + 4 * line, tile.ctypes.data, passed.ctypes.data, height, width, cityblock,
                    )  # fmt: skip
                    if found == 0:
                        continue
                    for i in range(row - at, height):
                        for j in range(width):
                            query, score = line + j, tile[i * width + j]
                            if (passed[i] >> j) & 1 and score > least[query]:
                                place = filled[query]
                                scores[query, place], numbers[query, place] = score, at + i
                                filled[query] = place + 1
                                if place + 1 == scores.shape[1]:
                                    least[query] = keep_best(scores[query], numbers[query], m)
                                    filled[query] = m

    return scan
