"""The loop that `mlsys.distance.numba_loop` compiles; a module of its own because only it needs Numba to be there.

What the loop closes over, with its code, names it in Numba's cache and so must be the same in every process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic


@intrinsic
def pointer(_, address):  # type: ignore[no-untyped-def]
    """An address as a pointer."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


def rows(element: Any, sums: int, dtype: type, width: int) -> Any:
    """The function to compile, see `mlsys.distance.numba_loop.Loop`.

    It goes through both halves of a row at once: the processor fetches ahead in each stream of addresses by itself, and
    more streams keep the memory busier.
    """
    absent = (0.0,) * (3 - sums)  # adding these is compiled to nothing

    def loop(x_at, y_at, n, out_at, stride):  # type: ignore[no-untyped-def]
        x, y = carray(pointer(x_at), n, dtype), carray(pointer(y_at), n, dtype)
        out = carray(pointer(out_at), sums * stride, np.float64)
        for row in range((n + width - 1) // width):
            first = row * width
            here = min(n - first, width)
            half = here // 2
            a, b = x[first : first + half], y[first : first + half]
            c, d = x[first + half : first + 2 * half], y[first + half : first + 2 * half]
            s, s_1, s_2 = 0.0, 0.0, 0.0
            for i in range(half):
                t, t_1, t_2 = element(a[i], b[i]) + absent
                u, u_1, u_2 = element(c[i], d[i]) + absent
                s += t + u
                s_1 += t_1 + u_1
                s_2 += t_2 + u_2
            if here % 2:
                t, t_1, t_2 = element(x[first + here - 1], y[first + here - 1]) + absent
                s += t
                s_1 += t_1
                s_2 += t_2
            out[row] = s
            if sums > 1:
                out[stride + row] = s_1
            if sums > 2:
                out[2 * stride + row] = s_2

    return loop
