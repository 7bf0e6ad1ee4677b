from __future__ import annotations

import heapq

import numpy as np
import pytest

from mlsys.theory.law import Unstable
from mlsys.theory.processor_sharing import ProcessorSharing


def shared(arrivals: list[float], work: float) -> list[float]:
    """Latencies where all inside share one worker: the least finished work of equal requests is the first to end."""
    inside, latencies, now, done = list[tuple[float, float]](), list[float](), 0.0, 0.0
    coming = [*arrivals, float("inf")]
    while len(latencies) < len(arrivals):
        ends = now + (inside[0][0] - done) * len(inside) if inside else float("inf")
        if ends <= coming[0]:
            _, came = heapq.heappop(inside)
            done, now = done + (ends - now) / (len(inside) + 1), ends
            latencies.append(now - came)
        else:
            done += (coming[0] - now) / len(inside) if inside else 0.0
            now = coming.pop(0)
            heapq.heappush(inside, (done + work, now))
    return latencies


def test_the_mean_is_that_of_a_worker_that_all_share() -> None:
    arrivals = np.cumsum(np.random.default_rng(8).exponential(50, 20_000)).tolist()
    assert np.mean(shared(arrivals, 22.0)) == pytest.approx(ProcessorSharing(20.0, 22.0).mean_ms, rel=0.02)


def test_a_request_of_twice_the_work_takes_twice_as_long() -> None:
    law = ProcessorSharing(20.0, 22.0)
    assert law.of_work_ms(44.0) == pytest.approx(2 * law.mean_ms)


def test_more_than_the_worker_can_do_is_refused() -> None:
    with pytest.raises(Unstable):
        ProcessorSharing(50.0, 22.0)
