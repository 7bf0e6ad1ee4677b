from __future__ import annotations

import random

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest

from mlsys.serving.histograms import Histogram

BOUNDS = (0.005, 0.01, 0.5, 1, 10)


def test_it_says_what_the_librarys_own_says() -> None:
    own, theirs = CollectorRegistry(), CollectorRegistry()
    fast = Histogram("mlsys_part_seconds", "Time in it.", BOUNDS, own, "stage")
    plain = prometheus_client.Histogram(
        "mlsys_part_seconds", "Time in it.", ("stage",), buckets=BOUNDS, registry=theirs
    )
    random.seed(1)
    for value in [*BOUNDS, 0.0, 11.0, *(random.expovariate(1.0) for _ in range(100))]:
        for stage in ("queue", "generate"):
            fast.of(stage).observe(value)
            plain.labels(stage).observe(value)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert sorted(generate_latest(own).decode().splitlines()) == sorted(expected)
