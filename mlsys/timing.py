"""Timing that can be trusted: warm-up, cold and hot cache, many repeats in turn, medians and quartiles.

Functions that are compared are timed in turn, round after round, so that the machine's drift hits all alike. On a GPU
device events time the work on the device, with the launch hidden behind other work; `wall` is what a caller waits.
Method: Triton's `do_bench` (cache flush before each repeat) with the rounds interleaved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mlsys.environment import last_level_cache_bytes
from mlsys.ranks import SINGLE, Group

Function = Callable[[], object]
HIDE_CYCLES = 200_000  # about 0.1 ms of device work, behind which the host enqueues what is timed
MOST_HIDE_CYCLES = (
    16 * HIDE_CYCLES
)  # for what takes the host longer; what waits for the device itself cannot be hidden
MIN_REPEATS = 3
COPY_BYTES = {"cuda": 2**30, "cpu": 2**28}
HOST_COPY_BYTES = 2**28


@dataclass(frozen=True)
class Timing:
    """Repeats of one function, in milliseconds."""

    samples_ms: list[float]

    @property
    def median_ms(self) -> float:
        """The median."""
        return float(np.median(self.samples_ms))

    def quantile_ms(self, q: float) -> float:
        """The quantile `q` of the repeats, 0 <= q <= 1, linear between neighbours."""
        return float(np.quantile(self.samples_ms, q))

    def quartiles(self, name: str) -> dict[str, float]:
        """The median as `name`, the quartiles as `name`_p25 and `name`_p75."""
        return {
            name: self.median_ms,
            f"{name}_p25": self.quantile_ms(0.25),
            f"{name}_p75": self.quantile_ms(0.75),
        }


class Clock:
    """Times functions on one device.

    Args:
        device: where the functions work.
        repeats: rounds; a function of which they would take over `time_limit_s` gets fewer, at least 3.
        warmup: calls that are not counted.
        data_bytes: what a function reads; a CPU's caches are flushed only for data that could stay in them.
        group: ranks that time the same functions; each call begins on all together, and the slowest counts.
    """

    def __init__(
        self,
        device: torch.device,
        repeats: int,
        warmup: int,
        time_limit_s: float,
        data_bytes: int,
        group: Group = SINGLE,
    ) -> None:
        self.group = group
        self.device, self.repeats, self.warmup, self.time_limit_s = device, repeats, warmup, time_limit_s
        flush = 0 if device.type == "cpu" and data_bytes > _flush_bytes(device) else _flush_bytes(device)
        self._hide: dict[
            int, int
        ] = {}  # by id: a function need not be hashable, and a wrong guess costs time only
        self._flush = torch.empty(flush, dtype=torch.int8, device=device)

    def cold(self, functions: Mapping[str, Function]) -> dict[str, Timing]:
        """Time on the device with cold caches."""
        return self._rounds(functions, self._once_cold)

    def hot(self, functions: Mapping[str, Function]) -> dict[str, Timing]:
        """Time on the device right after a call on the same data."""
        return self._rounds(functions, self._once_hot)

    def wall(self, functions: Mapping[str, Function]) -> dict[str, Timing]:
        """What the caller of the Python function waits, the device's work included, caches as they are."""
        return self._rounds(functions, self._once_wall)

    def _rounds(
        self, functions: Mapping[str, Function], once: Callable[[Function], float]
    ) -> dict[str, Timing]:
        wanted = {}
        for name, function in functions.items():
            for _ in range(max(self.warmup, 1)):
                estimate_ms = self.group.slowest([self._once_wall(function)])[0]
                if estimate_ms > 1e3 * self.time_limit_s / MIN_REPEATS:
                    break
            fitting = int(self.time_limit_s * 1e3 / max(estimate_ms, 1e-6))
            wanted[name] = max(min(self.repeats, fitting), min(MIN_REPEATS, self.repeats))
        samples: dict[str, list[float]] = {name: [] for name in functions}
        for turn in range(max(wanted.values())):
            for name, function in functions.items():
                if turn < wanted[name]:
                    samples[name].append(once(function))
        return {name: Timing(self.group.slowest(row)) for name, row in samples.items()}

    def _once_cold(self, function: Function) -> float:
        if self.device.type == "cuda":
            return self._events(function, lambda: self._flush.fill_(1))
        self._flush.fill_(1)
        return self._once_wall(function)

    def _once_hot(self, function: Function) -> float:
        if self.device.type == "cuda":
            return self._events(function, function)
        function()
        return self._once_wall(function)

    def _events(self, function: Function, before: Function) -> float:
        """Device time of `function` after `before`, behind so much work that it was enqueued when its turn came."""
        while True:
            cycles = self._hide.setdefault(id(function), HIDE_CYCLES)
            before()
            self._meet()
            torch.cuda._sleep(cycles)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            late = start.query()
            end.record()
            end.synchronize()
            if late:
                self._hide[id(function)] = min(2 * cycles, MOST_HIDE_CYCLES)
            if not late or cycles >= MOST_HIDE_CYCLES or self.group.size > 1:  # ranks go on together
                return float(start.elapsed_time(end))

    def _once_wall(self, function: Function) -> float:
        self._wait()
        self.group.barrier()
        start = time.perf_counter()
        function()
        self._wait()
        return (time.perf_counter() - start) * 1e3

    def _meet(self) -> None:
        if self.group.size > 1:
            self._wait()
            self.group.barrier()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def copy_bandwidth_gbps(device: torch.device, repeats: int = 10, group: Group = SINGLE) -> float:
    """The machine's own copy rate in 1e9 bytes/s, read and written bytes both counted, median of `repeats`.

    With group: of all ranks, which copy as much at the same time; the slowest counts.
    """
    source = torch.rand(COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    clock = Clock(device, repeats, warmup=2, time_limit_s=5, data_bytes=2 * source.nbytes, group=group)
    timing = clock.cold({"copy": lambda: target.copy_(source)})["copy"]
    return group.size * 2 * source.nbytes / timing.median_ms / 1e6


def host_to_device_gbps(device: torch.device, repeats: int = 10) -> float:
    """The rate of one copy from page-locked host memory to `device` in 1e9 bytes/s, median of `repeats`."""
    source = torch.zeros(HOST_COPY_BYTES, dtype=torch.int8, pin_memory=device.type == "cuda")
    target = torch.empty_like(source, device=device, pin_memory=False)
    clock = Clock(device, repeats, warmup=2, time_limit_s=5, data_bytes=2 * source.nbytes)
    timing = clock.cold({"copy": lambda: target.copy_(source, non_blocking=True)})["copy"]
    return source.nbytes / timing.median_ms / 1e6


def _flush_bytes(device: torch.device) -> int:
    """Enough to push everything out of the device's last cache; on a CPU at most 256 MiB."""
    if device.type == "cuda":
        return int(max(4 * torch.cuda.get_device_properties(device).L2_cache_size, 256 * 2**20))
    return min(2 * last_level_cache_bytes(), 256 * 2**20)
