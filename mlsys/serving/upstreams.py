"""The servers that a service's pipelines ask: whether they are there, and what was asked of them."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from mlsys.rag.upstream import Upstream
from mlsys.serving.worker import Worker

EVENTS = ("retries", "outages", "without_usage")
FAILED = "failed."


@runtime_checkable
class Asking(Protocol):
    """A pipeline with parts at an address."""

    upstreams: Sequence[Upstream]


class Upstreams:
    """Those of all workers; a collector of Prometheus's."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def all(self) -> list[Upstream]:
        """Every one of them."""
        return [one for w in self._workers if isinstance(w.pipeline, Asking) for one in w.pipeline.upstreams]

    def trouble(self) -> str | None:
        """Which is not there, in one line."""
        troubles = [
            f"{one.name} {one.health.trouble}" for one in self.all() if one.health.trouble is not None
        ]
        return troubles[0] if troubles else None

    def counts(self) -> dict[str, int]:
        """`generator.requests` and so on: what was asked of each group's servers, and how it ended."""
        total = Tally[str]()
        for one in self.all():
            total.update({f"{one.group}.{name}": count for name, count in one.counts.copy().items()})
        return dict(sorted(total.items()))

    def close(self) -> None:
        """Give all requests up."""
        for one in self.all():
            one.close()

    def collect(self) -> Iterable[Metric]:
        """What `/metrics` shows of them."""
        requests = CounterMetricFamily(
            "mlsys_upstream_requests", "Requests to another server, by outcome.", labels=["part", "outcome"]
        )
        events = CounterMetricFamily(
            "mlsys_upstream_events", "Retries, outages, answers without usage.", labels=["part", "event"]
        )
        first = SummaryMetricFamily(
            "mlsys_upstream_time_to_first_token_seconds", "From sending to the first text.", labels=["part"]
        )
        running = GaugeMetricFamily("mlsys_upstream_requests_running", "Requests there now.", labels=["part"])
        up = GaugeMetricFamily("mlsys_upstream_up", "1 while it answers.", labels=["part"])
        for one in self.all():
            counts = one.counts.copy()
            for name, count in counts.items():
                if name in ("succeeded", "cancelled") or name.startswith(FAILED):
                    requests.add_metric([one.group, name.removeprefix(FAILED)], count)
            for name in EVENTS:
                events.add_metric([one.group, name], counts[name])
            first.add_metric([one.group], counts["first_texts"], counts["first_texts_us"] / 1e6)
            running.add_metric([one.group], one.in_flight)
            up.add_metric([one.group], float(one.health.trouble is None))
        return [requests, events, first, running, up] if self.all() else []
