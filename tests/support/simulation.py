"""A discrete-event simulation of one worker behind a batching policy: the batcher's loop on a clock that
jumps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from mlsys.serving.batching import Close, Policy, Wait


@dataclass
class Batch:
    at: float
    members: list[int]
    reason: str


@dataclass
class Run:
    arrived: dict[int, float] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    free_at: list[float] = field(default_factory=list)

    @property
    def sizes(self) -> list[int]:
        return [len(batch.members) for batch in self.batches]


def waits_until(decision: Close | Wait) -> float | None:
    """The time of a decision that is to wait."""
    assert isinstance(decision, Wait)
    return decision.until


def simulate(
    policy: Policy,
    arrivals: list[float],
    service_s: Callable[[int], float],
    tokens: Callable[[int], int] = lambda member: 1,
    returns_after_s: Callable[[int], float] | None = None,
    until: float = float("inf"),
) -> Run:
    """Run to the end. With `returns_after_s` an answered client asks again (closed loop) until `until`."""
    run = Run()
    coming = [(at, number) for number, at in enumerate(arrivals)]
    heapq.heapify(coming)
    waiting: list[int] = []
    numbers = iter(range(len(arrivals), 10**9))
    now, busy_until, running = 0.0, float("-inf"), list[int]()
    for _ in range(200_000):
        while coming and coming[0][0] <= now:
            at, number = heapq.heappop(coming)
            run.arrived[number] = at
            waiting.append(number)
            policy.arrived(at)
        if running and now >= busy_until:
            run.free_at.append(now)
            for member in running:
                if returns_after_s is not None and now < until:
                    heapq.heappush(coming, (now + returns_after_s(member), next(numbers)))
            policy.answered(len(running), now)
            running = []
        wake = [coming[0][0]] if coming else []
        if running:
            wake.append(busy_until)
        elif waiting:
            decision = policy.decide(len(waiting), run.arrived[waiting[0]], now)
            if isinstance(decision, Close):
                chosen = waiting[: decision.count]
                kept = policy.cut([tokens(member) for member in chosen])
                waiting = chosen[kept:] + waiting[decision.count :]
                running = chosen[:kept]
                reason = "budget" if kept < len(chosen) else decision.reason
                run.batches.append(Batch(now, running, reason))
                busy_until = now + service_s(len(running))
                wake.append(busy_until)
            elif decision.until is not None:
                assert decision.until > now, "a wait that is over at once would spin"
                wake.append(decision.until)
        if not wake:
            assert not waiting, "requests are left and nothing will ever happen"
            return run
        now = max(now, min(wake))
    raise AssertionError("the simulation does not end")
