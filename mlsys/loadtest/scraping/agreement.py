"""Whether a service counted what its client did: `counters.agreement.*`, the client's figure over the service's own.

Over all requests between the two readings, warm-up and cool-down included: that is what the service counts. A ratio of
1.02 for a time is what lies between them, the network and two HTTP libraries. Another number of requests or tokens is
another client of the same service, or one side that counts wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.scraping.exposition import PREFIX
from mlsys.record import Scalar

TOLERANCE = 0.03
COUNTED = ("requests", "output_tokens")


def agreement(rows: Sequence[Row], counted: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The ratios of what both sides have; nothing is said of what one of them does not tell."""
    good = [row for row in rows if row.outcome == OK]
    tokens = [row.tokens for row in good if not row.tokens_estimated]
    read = [row.prompt_tokens for row in good]
    ours: dict[str, float | None] = {
        "requests": float(len(good)),
        "output_tokens": _sum(tokens) if len(tokens) == len(good) else None,
        "prompt_tokens": _sum(read),
        "e2e_ms.mean": _mean([1e3 * (row.done_s - row.sent_s) for row in good]),
        "decode_s": _sum([row.done_s - row.first_text_s for row in good if row.first_text_s is not None]),
        "ttft_ms.mean": _mean(
            [1e3 * (row.first_text_s - row.sent_s) for row in good if row.first_text_s is not None]
        ),
    }
    found: dict[str, Scalar] = {}
    for name, value in ours.items():
        theirs = counted.get(PREFIX + name)
        if value is not None and isinstance(theirs, (int, float)) and theirs > 0:
            found[f"{PREFIX}agreement.{name}"] = value / theirs
    return found


def doubt(values: Mapping[str, Scalar]) -> str | None:
    """One line where the two sides counted different numbers of requests or tokens; None where they agree."""
    for name in COUNTED:
        ratio = values.get(f"{PREFIX}agreement.{name}")
        if isinstance(ratio, float) and abs(ratio - 1) > TOLERANCE:
            return (
                f"the service's own counters have {values[PREFIX + name]} {name.replace('_', ' ')}, the client"
                f" {ratio:.3f} times that: does it serve others too?"
            )
    return None


def _sum(values: Sequence[float | None]) -> float | None:
    whole = [value for value in values if value is not None]
    return float(sum(whole)) if whole and len(whole) == len(values) else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
