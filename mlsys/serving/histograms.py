"""Histograms that cost a request a fraction of a microsecond: counted by one thread each, summed up when asked for.

`prometheus_client`'s own take a lock and look through the bounds for each value; a service counts some each request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Buckets:
    """How many values lay at or below each bound and above the one before. Only one thread may `observe`."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._total = bounds, 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Prometheus's: counts up to each bound, and the sum of all values."""
        counts, total, seen = list(self._counts), self._total, 0
        found = list[tuple[str, float]]()
        for bound, count in zip([*self._bounds, float("inf")], counts, strict=True):
            seen += count
            found.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(seen)))
        return found, total


class Histogram(Collector):
    """One of a name, or with a `label` one for each of its values."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry, label: str = ""
    ) -> None:
        self._name, self._text, self._bounds, self._label = name, text, bounds, label
        self._of = dict[str, Buckets]() if label else {"": Buckets(bounds)}
        registry.register(self)

    def of(self, value: str = "") -> Buckets:
        """The counts of this value of the label."""
        found = self._of.get(value)
        if found is None:
            found = self._of[value] = Buckets(self._bounds)
        return found

    def describe(self) -> Iterator[Metric]:
        """Its name, before anything was counted."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """What has been counted."""
        family = self._family()
        for value, counts in list(self._of.items()):
            family.add_metric([value] if self._label else [], *counts.buckets())
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._text, labels=[self._label] if self._label else [])
