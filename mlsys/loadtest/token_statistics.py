"""What streamed answers say of a level: when text began, how it went on, in distributions and histograms. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.loadtest.distributions import distribution
from mlsys.loadtest.rows import Row
from mlsys.record import Scalar

BINS_PER_DECADE = 10
LEAST = 1e-3


def streams(good: Sequence[Row]) -> dict[str, Scalar]:
    """`ttft_ms`, `tpot_ms`, `itl_ms` and `ttft_is_e2e` of the answers that were asked for piece by piece, if any.

    `ttft_is_e2e`: no answer of several tokens came in pieces, so that the first word came with the last.
    """
    asked = [row for row in good if row.first_text_s is not None]
    if not asked:
        return {}
    first = [value for row in asked if (value := row.ttft_ms) is not None]
    each = [value for row in asked if (value := row.tpot_ms) is not None]
    gaps = np.concatenate([np.frombuffer(row.itl_ms or b"", np.float32) for row in asked])
    longer = [row for row in asked if row.tokens is None or row.tokens > 1]
    return {
        "ttft_is_e2e": bool(longer) and not any(row.itl_ms for row in longer),
        **distribution("ttft_ms", first),
        **distribution("tpot_ms", each),
        **distribution("itl_ms", gaps.astype(np.float64)),
        **histogram("ttft_ms", first),
        **histogram("tpot_ms", each),
        **histogram("itl_ms", gaps),
    }


def histogram(name: str, values: Sequence[float] | NDArray[np.float32]) -> dict[str, Scalar]:
    """`name.hist.<edge>`: how many values lie at or below that edge and above the one before, ten edges a decade.

    The edges are the same for all runs. What is below 0.001 is counted with it. Bins without values are left out.
    """
    positive = np.maximum(np.asarray(values, dtype=np.float64), LEAST)
    exponents = np.ceil(np.round(BINS_PER_DECADE * np.log10(positive), 4)).astype(int)
    counts = Counter(exponents.tolist())
    return {f"{name}.hist.{edge(exponent)}": counts[exponent] for exponent in sorted(counts)}


def edge(exponent: int) -> str:
    """The edge of a bin as it stands in a name: `100`, `126`, `0.316`."""
    value = math.pow(10, exponent / BINS_PER_DECADE)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
