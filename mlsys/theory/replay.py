"""The same models on given arrivals: what theory says of just these requests and not of all that might have come.

A closed form speaks of endless requests. A run has some hundreds, and by luck they came in a harder or an easier
order. Replayed through the model, the very same arrivals show that luck, and what is left of a difference between
measured and replayed is the service's. As a control variate (Lavenberg and Welch, 1981) that is why a run of a
minute can be held against a form to a per cent.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlsys.theory.law import Floats

Times = Sequence[float] | Floats  # ms, in order


@dataclass(frozen=True)
class Came:
    """Requests as they came: `at_ms` in order.

    `stretch`: the service of each as a multiple of its cost; `replica`: the number of the one that served it, -1: none.
    """

    at_ms: Floats
    stretch: Floats
    replica: NDArray[np.int64]


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


def shortest(arrivals_ms: Times, services_ms: Times, replicas: int, served_by: Sequence[int]) -> Floats:
    """The latency of each request, which goes to the replica with the fewest inside.

    Of several with as few it takes the one that it was `served_by`, if that is one of them, and else the first.
    """
    ends = [deque[float]() for _ in range(replicas)]
    found = np.empty(len(arrivals_ms))
    for number, (came, takes, real) in enumerate(zip(arrivals_ms, services_ms, served_by, strict=True)):
        for line_ in ends:
            while line_ and line_[0] <= came:
                line_.popleft()
        fewest = min(map(len, ends))
        chosen = ends[real] if 0 <= real < replicas and len(ends[real]) == fewest else min(ends, key=len)
        chosen.append(max(came, chosen[-1] if chosen else came) + takes)
        found[number] = chosen[-1] - came
    return found


def behind_a_door(
    arrivals_ms: Times, services_ms: Times, planned_ms: float, limit_ms: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """The latency of each request, one after the other, and whether it was let in: who would be late is refused.

    The door plans with `planned_ms` for each, whatever its service takes then. It refuses who would not be answered
    within `limit_ms` by that plan, but nobody while none is inside. One that is refused has the latency that it would
    have had, and takes nothing from others.
    """
    inside = deque[tuple[float, float]]()  # begin and end of those not yet answered
    found, let_in = np.empty(len(arrivals_ms)), np.zeros(len(arrivals_ms), dtype=np.bool_)
    for number, (came, takes) in enumerate(zip(arrivals_ms, services_ms, strict=True)):
        while inside and inside[0][1] <= came:
            inside.popleft()
        begins = inside[-1][1] if inside else came
        found[number] = begins + takes - came
        rest = max(0.0, inside[0][0] + planned_ms - came) if inside else 0.0
        if not inside or rest + planned_ms * len(inside) <= limit_ms:
            inside.append((begins, begins + takes))
            let_in[number] = True
    return found, let_in
