"""Little's law, L = λW, checked on what was measured (Little, A proof for the queuing formula, 1961).

How many requests are inside on average is counted from their stamps, and so are how many leave a second and how
long those were inside. In a steady state the first is the product of the others. A ratio above 1 says that requests
gather: more are inside than the rate and the latency of those that left explain.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.loadtest.rows import Row
from mlsys.loadtest.window import Window, mean_in_flight


def ratio(repeats: Sequence[Sequence[Row]], windows: Sequence[Window]) -> float | None:
    """L over λW of all repeats, each in its window; None where nothing ended in them."""
    inside = left = 0.0
    for rows, window in zip(repeats, windows, strict=True):
        length = window.end_s - window.start_s
        inside += length * mean_in_flight(rows, window.start_s, window.end_s)
        left += sum(
            row.done_s - row.intended_s for row in rows if window.start_s < row.done_s <= window.end_s
        )
    return inside / left if left > 0 else None
