"""The loop over pairs of rows that `mlsys.distance.numba_loop` compiles; a module of its own as only it needs Numba.

What the loop closes over, with its code, names it in Numba's cache and so must be the same in every process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mlsys.distance.numba_rows import pointer


def pairs(element: Any, sums: int, dtype: type) -> Any:
    """The function to compile, see `mlsys.distance.numba_loop.Pairs`."""
    absent = (0.0,) * (3 - sums)  # adding these is compiled to nothing
    size = np.dtype(dtype).itemsize

    def loop(x_at, y_at, rows, n, x_stride, y_stride, out_at, stride):  # type: ignore[no-untyped-def]
        out = carray(pointer(out_at), sums * stride, np.float64)
        for row in range(rows):
            x = carray(pointer(x_at + row * x_stride * size), n, dtype)
            y = carray(pointer(y_at + row * y_stride * size), n, dtype)
            s, s_1, s_2 = 0.0, 0.0, 0.0
            for i in range(n):
                t, t_1, t_2 = element(x[i], y[i]) + absent
                s += t
                s_1 += t_1
                s_2 += t_2
            out[row] = s
            if sums > 1:
                out[stride + row] = s_1
            if sums > 2:
                out[2 * stride + row] = s_2

    return loop
