from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from mlsys import timing
from mlsys.ranks import Group
from mlsys.timing import Clock, Timing

CPU = torch.device("cpu")


def clock(repeats: int = 5, warmup: int = 2, time_limit_s: float = 10) -> Clock:
    return Clock(CPU, repeats, warmup, time_limit_s, data_bytes=2**40)


def test_medians_and_quartiles() -> None:
    row = Timing([4.0, 1.0, 2.0, 3.0, 100.0])
    assert row.median_ms == 3.0
    assert (row.quantile_ms(0.25), row.quantile_ms(0.75)) == (2.0, 4.0)
    assert row.quartiles("wall_ms") == {"wall_ms": 3.0, "wall_ms_p25": 2.0, "wall_ms_p75": 4.0}


def test_functions_are_timed_in_turn_after_their_warm_up() -> None:
    calls: list[str] = []
    timings = clock().cold({name: partial(calls.append, name) for name in "ab"})
    assert calls == ["a", "a", "b", "b"] + ["a", "b"] * 5
    assert {name: len(row.samples_ms) for name, row in timings.items()} == {"a": 5, "b": 5}


def test_hot_means_called_just_before() -> None:
    calls: Counter[str] = Counter()
    clock(repeats=4, warmup=1).hot({"a": lambda: calls.update("a")})
    assert calls["a"] == 1 + 2 * 4


def test_a_slow_function_gets_fewer_repeats_but_never_fewer_than_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def slow() -> None:
        now[0] += 4.0

    def quick() -> None:
        now[0] += 0.001

    timings = clock(repeats=20, time_limit_s=10).wall({"slow": slow, "quick": quick})
    assert timings["slow"].samples_ms == pytest.approx([4000.0] * 3)
    assert len(timings["quick"].samples_ms) == 20


class Slower(Group):
    """Beside a rank that takes twice as long."""

    size = 2

    def __init__(self) -> None:
        self.met = 0

    def exchange(self, value: list[float]) -> list[list[float]]:
        return [value, [2 * time for time in value]]

    def barrier(self) -> None:
        self.met += 1


def test_ranks_begin_together_the_slowest_counts_and_decides_how_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, group = [0.0], Slower()
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    together = Clock(CPU, 20, 1, time_limit_s=10, data_bytes=2**40, group=group)

    def second() -> None:
        now[0] += 1.0

    timings = together.wall({"second": second})
    assert timings["second"].samples_ms == pytest.approx([2000.0] * 5)
    assert group.met == 1 + 5


def test_the_copy_rate_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.COPY_BYTES, "cpu", 2**22)
    assert timing.copy_bandwidth_gbps(CPU, repeats=3) > 0


def test_the_host_copy_counts_its_bytes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "HOST_COPY_BYTES", 2**20)
    monkeypatch.setattr(Clock, "cold", lambda self, functions: {name: Timing([0.5]) for name in functions})
    assert timing.host_to_device_gbps(CPU) == pytest.approx(2**20 / 0.5e-3 / 1e9)


def test_what_a_launch_hides_behind_grows_for_a_late_function_that_need_not_be_hashable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[int] = []
    late = iter([True, True, False, False])
    event = SimpleNamespace(
        record=lambda: None, query=lambda: next(late), synchronize=lambda: None, elapsed_time=lambda end: 1.0
    )
    monkeypatch.setattr(torch.cuda, "_sleep", slept.append)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: event)
    clock = Clock(torch.device("cpu"), 3, 1, 1, 0)
    calls: list[int] = []

    @dataclass
    class Planned:  # as the plan of a distance: with __eq__, so without __hash__
        number: int

        def __call__(self) -> None:
            calls.append(self.number)

    late_one, other = Planned(1), Planned(2)
    assert clock._events(late_one, lambda: None) == 1.0
    assert clock._events(other, lambda: None) == 1.0
    assert calls == [1, 1, 1, 2]
    assert slept == [timing.HIDE_CYCLES * times for times in (1, 2, 4, 1)]


@pytest.mark.gpu
def test_the_host_copy_rate_is_a_rate() -> None:
    assert 1 < timing.host_to_device_gbps(torch.device("cuda")) < 1000


@pytest.mark.gpu
def test_device_time_leaves_the_launch_out() -> None:
    device = torch.device("cuda")
    x = torch.rand(1000, device=device)
    gpu = Clock(device, 20, 3, 10, x.nbytes)
    assert (
        gpu.hot({"x": lambda: x.add_(1)})["x"].median_ms < gpu.wall({"x": lambda: x.add_(1)})["x"].median_ms
    )


@pytest.mark.gpu
def test_device_time_leaves_a_slow_launch_out() -> None:
    x = torch.rand(1000, device="cuda")

    def slow() -> None:
        time.sleep(5e-4)
        x.add_(1)

    assert Clock(torch.device("cuda"), 20, 3, 10, x.nbytes).hot({"x": slow})["x"].median_ms < 0.2
