"""One token's attention for each of several slots on one CPU thread: reads each slot up to its own length.

Lock-step attention reads every slot up to the longest; answers that come and go have lengths of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def _compiled(function: Callable[..., None]) -> Any:
    """Kept on disk, where a folder can be written: compiling takes seconds of a service's start."""
    how = {"fastmath": True, "nogil": True, "error_model": "numpy"}
    with contextlib.suppress(Exception):  # whatever is wrong with the cache: it is only a cache
        return njit(**how, cache=True)(function)
    return njit(**how)(function)


@_compiled
def store_and_attend(q, k, v, kv, slots, positions, scale, out, weights):  # type: ignore[no-untyped-def]
    """Write the newest keys and values into their slots, then attend to all up to and with them.

    q, out (W, H, d); k, v (W, K, d); kv (2, slots, K, tokens, d); slots, positions (W,); weights: (tokens,) scratch.
    All float32. K divides H: query heads that share a key head are neighbours.
    """
    rows, heads, dim = q.shape
    groups = heads // k.shape[1]
    for row in range(rows):
        slot, length = slots[row], positions[row] + 1
        for head in range(k.shape[1]):
            keys, values = kv[0, slot, head], kv[1, slot, head]
            for at in range(dim):
                keys[length - 1, at], values[length - 1, at] = k[row, head, at], v[row, head, at]
            for group in range(groups):
                query, found = q[row, head * groups + group], out[row, head * groups + group]
                highest = np.float32(-np.inf)
                for token in range(length):
                    score = np.float32(0)
                    for at in range(dim):
                        score += query[at] * keys[token, at]
                    weights[token] = score * scale
                    highest = max(highest, weights[token])
                total = np.float32(0)
                for token in range(length):
                    weights[token] = np.exp(weights[token] - highest)
                    total += weights[token]
                for at in range(dim):
                    found[at] = 0
                for token in range(length):
                    weight = weights[token] / total
                    for at in range(dim):
                        found[at] += weight * values[token, at]
