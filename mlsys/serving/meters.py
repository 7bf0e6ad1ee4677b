"""Counts and times of a running service, for Prometheus (`/metrics`) and for the benchmark (`/stats`)."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from mlsys.roofline import counts
from mlsys.roofline.counts import Counts
from mlsys.serving.histograms import Buckets, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Of `/stats`, what several services' are added up of; each of them counts its own responses as well.
TALLIES = ("batch_size", "closed", "cycles", "handovers", "steps", "tokens", "upstream", "decoded")


class Meters:
    """All meters of one service, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.codes: Tally[int] = Tally()
        self.sizes: Tally[int] = Tally()
        self.closed: Tally[str] = Tally()
        self.cycles: Tally[str] = Tally(count=0, total_us=0)
        self.handovers: Tally[str] = Tally(count=0, total_us=0)
        self.decoded: Tally[str] = Tally()
        self._requests = self.counter("requests", "RAG requests answered, by HTTP status.", ("code",))
        self._batches = self.counter("batches", "Batches closed, by reason.", ("reason",))
        self._closed: dict[str, Counter] = {}
        self._duration = self.histogram("request_duration_seconds", "Arrival to answer.", SECONDS)
        self._size = self.histogram("batch_size", "Requests generated together.", SIZES)
        self._stages = Histogram(
            "mlsys_stage_duration_seconds",
            "Time a request spent in each part.",
            SECONDS,
            self.registry,
            "stage",
        )

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A new counter; `_total` is appended to its name."""
        return Counter(f"mlsys_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Buckets:
        """A new histogram; one thread counts in it."""
        return Histogram(f"mlsys_{name}", text, buckets, self.registry).of()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A new gauge whose value is read when it is asked for."""
        Gauge(f"mlsys_{name}", text, registry=self.registry).set_function(read)

    def request(self, code: int, seconds: float) -> None:
        """A request ended with this HTTP status."""
        self.codes[code] += 1
        self._requests.labels(str(code)).inc()
        self._duration.observe(seconds)

    def parts(self, parts_s: dict[str, float]) -> None:
        """Where an answered request's time went."""
        for part, seconds in parts_s.items():
            self._stages.of(part).observe(seconds)

    def batch(self, size: int, reason: str) -> None:
        """A batch of `size` was generated; it had been closed for `reason`."""
        self.sizes[size] += 1
        self.closed[reason] += 1
        self._size.observe(size)
        if (closed := self._closed.get(reason)) is None:
            closed = self._closed[reason] = self._batches.labels(reason)
        closed.inc()

    def cycle(self, seconds: float) -> None:
        """An engine that had requests waiting began its next batch so long after the one before."""
        self.cycles["count"] += 1
        self.cycles["total_us"] += round(1e6 * seconds)

    def handover(self, seconds: float) -> None:
        """A batch took so much longer, from the event loop to its thread and back, than its stages did."""
        self.handovers["count"] += 1
        self.handovers["total_us"] += round(1e6 * seconds)

    def decoding(self, batch: int, found: Counts) -> None:
        """An engine decoded for a batch of that size."""
        counts.add(self.decoded, batch, found)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)

    def stats(self) -> dict[str, dict[str, int]]:
        """The tallies, JSON-ready; batch sizes in order."""
        return {
            "responses": {str(code): count for code, count in sorted(self.codes.items())},
            "batch_size": {str(size): count for size, count in sorted(self.sizes.items())},
            "closed": dict(sorted(self.closed.items())),
            "cycles": dict(self.cycles),
            "handovers": dict(self.handovers),
            "decoded": dict(self.decoded),
        }
