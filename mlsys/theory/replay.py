"""The same models on given arrivals: what theory says of just these requests and not of all that might have come.

A closed form speaks of endless requests. A run has some hundreds, and by luck they came in a harder or an easier
order. Replayed through the model, the very same arrivals show that luck, and what is left of a difference between
measured and replayed is the service's. As a control variate (Lavenberg and Welch, 1981) that is why a run of a
minute can be held against a form to a per cent.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from mlsys.theory.law import Floats

Times = Sequence[float] | Floats  # ms, in order


def line(arrivals_ms: Times, services_ms: Times, workers: int = 1) -> Floats:
    """The latency of each request, first in, first out: Lindley's recursion, for workers Kiefer's and Wolfowitz's.

    `arrivals_ms` in order, `services_ms` one for each.
    """
    free = [float("-inf")] * workers
    found = np.empty(len(arrivals_ms))
    for number, (came, takes) in enumerate(zip(arrivals_ms, services_ms, strict=True)):
        done = max(came, heapq.heappop(free)) + takes
        heapq.heappush(free, done)
        found[number] = done - came
    return found


def batches(
    arrivals_ms: Times,
    cost_ms: Callable[[float], float],
    max_batch: int | None = None,
    window_ms: float = 0.0,
    at_once: bool = True,
    stretch: Times | None = None,
) -> tuple[Floats, list[int]]:
    """The latency of each request and the size of each batch; the knobs are those of `batch_service.Batches`.

    `stretch`: what a batch takes as a multiple of its cost, by its oldest request; None: 1.
    """
    most = max_batch or len(arrivals_ms)
    found, sizes = np.empty(len(arrivals_ms)), list[int]()
    first, free = 0, float("-inf")
    while first < len(arrivals_ms):
        oldest = arrivals_ms[first]
        begin = max(free, oldest + window_ms)
        if at_once and oldest >= free:
            begin = oldest
        after = first + 1
        while after < len(arrivals_ms) and after - first < most and arrivals_ms[after] <= begin:
            after += 1
        if at_once and after - first == most:  # full before its window was over
            begin = max(free, arrivals_ms[after - 1])
        free = begin + cost_ms(after - first) * (1.0 if stretch is None else stretch[first])
        found[first:after] = free - np.asarray(arrivals_ms[first:after])
        sizes.append(after - first)
        first = after
    return found, sizes
