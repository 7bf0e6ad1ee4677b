"""What holds for every batching policy, whatever comes: nothing lost or twice, order, bounds, deadlines."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import simulate

from mlsys.serving.batching import REASONS, Policy
from mlsys.serving.batching.hybrid import RETURN_S, Hybrid
from mlsys.serving.batching.single import Single
from mlsys.serving.batching.size import Size
from mlsys.serving.batching.slo import Slo
from mlsys.serving.batching.time import Time

KINDS = ["hybrid", "size", "time", "single", "slo"]
BUDGETS = st.none() | st.integers(1, 400)
MS = st.floats(0, 50)
GAPS = st.lists(st.floats(0, 0.2), min_size=1, max_size=60)


def make(kind: str, draw: Callable[..., Any]) -> tuple[Policy, int | None, float]:
    if kind == "single":
        return Single(), None, 0.0
    size, budget = draw(st.integers(1, 10)), draw(BUDGETS)
    if kind == "size":
        wait = draw(MS)
        return Size("size", size, wait, budget), budget, wait / 1000
    timeout = draw(MS)
    if kind == "slo":
        fill, base = draw(st.booleans()), draw(st.none() | MS)
        each = None if base is None else draw(MS)
        return (
            Slo("slo", size, 1 + timeout, 0.5, fill, each, base, budget),
            budget,
            fill * (0.5 + timeout) / 1000,
        )
    if kind == "time":
        return Time("time", size, timeout, budget), budget, timeout / 1000
    linger = draw(MS)
    longest = linger + 1000 * RETURN_S * size if linger else 0.0
    return Hybrid("hybrid", size, timeout, linger, budget), budget, max(timeout, longest) / 1000


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), gaps=GAPS)
def test_nothing_lost_nothing_twice_order_bounds_and_deadline(
    kind: str, data: st.DataObject, gaps: list[float]
) -> None:
    policy, budget, hold_s = make(kind, data.draw)
    arrivals = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    lengths = data.draw(st.lists(st.integers(1, 300), min_size=len(gaps), max_size=len(gaps)))
    run = simulate(policy, arrivals, lambda size: 0.01 + 0.01 * size, tokens=lengths.__getitem__)

    assert [member for batch in run.batches for member in batch.members] == list(range(len(gaps)))
    for batch in run.batches:
        assert 1 <= len(batch.members) <= policy.max_size
        assert batch.reason in REASONS
        padded = len(batch.members) * max(lengths[member] for member in batch.members)
        assert budget is None or len(batch.members) == 1 or padded <= budget
    free = [float("-inf"), *run.free_at]
    for batch, free_at in zip(run.batches, free, strict=False):
        held_from = max(run.arrived[batch.members[0]], free_at)
        assert batch.at <= held_from + hold_s + 1e-6, "held longer than the knobs allow"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), clients=st.integers(1, 25), think=st.floats(0.001, 0.03))
def test_closed_loops_keep_going(kind: str, data: st.DataObject, clients: int, think: float) -> None:
    policy, _, _ = make(kind, data.draw)
    run = simulate(policy, [0.0] * clients, lambda size: 0.1, returns_after_s=lambda _: think, until=3.0)
    answered = [member for batch in run.batches for member in batch.members]
    assert sorted(answered) == sorted(set(answered)) == sorted(run.arrived)
