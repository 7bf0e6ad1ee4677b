"""A level in its course: what requests took by when they were due. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row

MOST_BINS = 60
LEAST_IN_BIN = 5  # requests on average: fewer make a median that says nothing
FIGURES = ("e2e_ms", "ttft_ms")


def timeline(repeats: Sequence[Sequence[Row]]) -> dict[str, list[float]]:
    """`timeline.s`: seconds since the first measured request was due, the middle of each bin that has answers.

    `timeline.e2e_ms` and `timeline.ttft_ms` (of streams): medians of the bin, over all repeats.
    """
    due, good = list[float](), list[Row]()
    for rows in repeats:
        measured = [row for row in rows if row.phase == MEASURED]
        start_s = min((row.intended_s for row in measured), default=0.0)
        answered = [row for row in measured if row.outcome == OK]
        due += [row.intended_s - start_s for row in answered]
        good += answered
    bins = min(MOST_BINS, len(good) // LEAST_IN_BIN)
    if bins < 2 or max(due) <= 0:
        return {}
    width_s = max(due) / bins
    place = np.minimum((np.asarray(due) / width_s).astype(int), bins - 1)
    filled = [int(index) for index in np.unique(place)]
    found = {"timeline.s": [width_s * (index + 0.5) for index in filled]}
    for name in FIGURES:
        values = [getattr(row, name) for row in good]
        if None not in values:
            figures = np.asarray(values, dtype=np.float64)
            found[f"timeline.{name}"] = [float(np.median(figures[place == index])) for index in filled]
    return found
