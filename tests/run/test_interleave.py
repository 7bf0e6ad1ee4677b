from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from mlsys.record import Level, Results
from mlsys.run import interleave
from mlsys.run.interleave import Rounds, merge


class Counting:
    kind = "distance"

    def __init__(self, latency_ms: float) -> None:
        self.latency_ms = latency_ms

    def measure(self) -> Iterator[Results | Level]:
        yield Results({"n": 3, "device": "cpu"})
        yield Results({"latency_ms": self.latency_ms}, {"latency_ms": [self.latency_ms]})


def test_measurements_become_medians_names_stay_and_samples_add_up() -> None:
    parts = [Level({"mode": "batch", "n": 2, "rate": rate}, {"rate": [rate]}) for rate in (5.0, 1.0, 2.0)]
    merged = merge(parts)
    assert isinstance(merged, Level)
    assert merged.values == {"mode": "batch", "n": 2, "rate": 2.0}
    assert merged.samples == {"rate": [5.0, 1.0, 2.0]}


def test_the_first_round_yields_as_it_goes_and_later_ones_all_at_once() -> None:
    restarts: list[int] = []
    rounds = Rounds(wanted=2)
    first = rounds.measure(Counting(4.0), lambda: restarts.append(1))
    assert next(first).values == {"n": 3, "device": "cpu"}
    assert not rounds.done
    list(first)
    assert (restarts, rounds.last) == ([], True)
    second = list(rounds.measure(Counting(2.0), lambda: restarts.append(2)))
    assert restarts == [2]
    assert second[1].values == {"latency_ms": 3.0}
    assert second[1].samples == {"latency_ms": [4.0, 2.0]}


def test_jobs_are_measured_in_turn_until_they_want_no_more() -> None:
    order: list[str] = []
    left = {"a": 3, "b": 1, "c": 2}

    def job(name: str) -> bool:
        order.append(name)
        left[name] -= 1
        return left[name] > 0

    for name in left:
        interleave.defer(partial(job, name))
    interleave.run()
    assert order == ["a", "b", "c", "a", "c", "a"]
    interleave.run()
    assert len(order) == 6


def test_an_interrupt_in_a_later_round_leaves_the_rounds_before() -> None:
    rounds = Rounds(wanted=2)
    list(rounds.measure(Counting(4.0), lambda: None))

    class Interrupted(Counting):
        def measure(self) -> Iterator[Results | Level]:
            yield Results({"n": 3})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(rounds.measure(Interrupted(1.0), lambda: pytest.fail("forgot the first round")))
