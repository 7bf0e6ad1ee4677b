"""The knee: the load beyond which more of it brings more waiting than answers.

Kleinrock (Power and deterministic rules of thumb for probabilistic problems in computer communications, 1979):
there the throughput over the latency, the power, is at its highest. For one worker and random arrivals that is half
of what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float, float]  # load, throughput, latency


def knee(points: Sequence[Point]) -> float | None:
    """The load with the most throughput per latency; None where no point has both."""
    powers = [(rate / latency, -load) for load, rate, latency in points if rate > 0 and latency > 0]
    return -max(powers)[1] if powers else None
