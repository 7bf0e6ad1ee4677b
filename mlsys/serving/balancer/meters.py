"""The balancer's own meters: each replica's state and counts, read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mlsys.serving.balancer.backend import Backends
from mlsys.serving.balancer.proxy import Proxy
from mlsys.serving.meters import Meters


class _Replicas(Collector):
    def __init__(self, backends: Backends, proxy: Proxy) -> None:
        self._backends, self._proxy = backends, proxy

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("mlsys_replica_up", "1 while requests are sent to it.", labels=["replica"])
        flight = GaugeMetricFamily(
            "mlsys_replica_requests_in_flight", "Calls not yet ended.", labels=["replica"]
        )
        calls = CounterMetricFamily(
            "mlsys_replica_requests", "Calls, by how they ended.", labels=["replica", "code"]
        )
        restarts = CounterMetricFamily(
            "mlsys_replica_restarts", "Times it was started again.", labels=["replica"]
        )
        ejections = CounterMetricFamily(
            "mlsys_replica_ejections", "Times it was ejected.", labels=["replica"]
        )
        available = self._backends.available()
        for backend in self._backends.all:
            up.add_metric([backend.name], float(backend in available))
            flight.add_metric([backend.name], backend.in_flight)
            restarts.add_metric([backend.name], backend.restarts)
            ejections.add_metric([backend.name], backend.health.ejections)
            for code, count in backend.codes.items():
                calls.add_metric([backend.name, code], count)
        yield from (up, flight, calls, restarts, ejections)
        yield CounterMetricFamily(
            "mlsys_retries", "Requests tried on another replica.", value=self._proxy.retries
        )


def meter(meters: Meters, backends: Backends, proxy: Proxy) -> None:
    """Add the replicas' meters to the service's registry."""
    meters.registry.register(_Replicas(backends, proxy))
