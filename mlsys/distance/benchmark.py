"""The distance benchmark: one metric, one reduction, one pair of vectors, measured beside its baselines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from mlsys import progress
from mlsys.distance import distributed, measure, plan, stream, tuning_table
from mlsys.distance.baseline import get
from mlsys.distance.expected import Reference, reference
from mlsys.distance.source import Source
from mlsys.errors import UserError
from mlsys.quantities import format_bytes
from mlsys.ranks import SINGLE, Group
from mlsys.record import Results, Scalar
from mlsys.timing import Clock, copy_bandwidth_gbps, host_to_device_gbps


@dataclass
class DistanceBenchmark:
    """Measures one configuration.

    Args:
        metric, reduction: instances; `data.open(n, dtype, seed)` gives the two sources.
        placement: `device` holds both vectors there; `host` streams them within `memory_budget` bytes.
        repeats, warmup, time_limit_s: see `timing.Clock`.
        asked: options that were given, which data of another size or dtype must not overrule in silence.
        group: the ranks over which the vectors are spread; each holds, reads and checks only its own stretch.
    """

    metric: Any
    reduction: Any
    data: Any
    n: int
    dtype: torch.dtype
    device: torch.device
    placement: str
    memory_budget: int
    baselines: list[str]
    repeats: int
    warmup: int
    time_limit_s: float
    seed: int
    group: Group = SINGLE
    asked: frozenset[str] = frozenset()
    kind: str = "distance"

    def measure(self) -> Iterator[Results]:
        """Value and error first, then the timings, then the baselines in turn with another round of ours."""
        modules = {name: get(name) for name in self.baselines}
        with progress.step(f"opening {self.data.name} data"):
            sources = self.data.open(self.n, self.dtype, self.seed)
        self._check_asked(sources[0])
        yield Results(self._conditions(sources))
        own = distributed.shards(sources, self.group) if self.group.size > 1 else sources
        call, facts = self._prepare(own)
        yield Results(facts)
        truth, values = self._value(call, own)
        yield Results(values)
        clock = self._clock(own)
        with progress.step(f"timing {self.metric.name}, {call.reduction}"):
            yield self._timings(clock, call, sources)
        if self.group.size > 1:
            reason = f"it computes in one process, and the vectors are spread over {self.group.size} ranks"
            yield measure.left_out(dict.fromkeys(modules, reason))
        elif modules:
            yield from measure.measure(clock, call, modules, sources, self.metric, truth)

    def _check_asked(self, x: Source) -> None:
        own = {"size": (self.n, x.n), "dtype": (self.dtype, x.dtype)}
        for option, (given, found) in own.items():
            if option in self.asked and given != found:
                given, found = (str(value).removeprefix("torch.") for value in (given, found))
                raise UserError(
                    f"{option}={given}, but data.x ({x.description}) has {found}: leave {option} out"
                )

    def _conditions(self, sources: tuple[Source, Source]) -> dict[str, Scalar]:
        x, y = sources
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        spread = distributed.conditions(x.n, name, self.group) if self.group.size > 1 else {}
        return {
            "n": x.n,
            "dtype": str(x.dtype).removeprefix("torch."),
            "device": self.device.type,
            "device_name": name,
            "placement": self.placement,
            "threads": torch.get_num_threads(),
            "data.x": x.description,
            "data.y": y.description,
            **spread,
        }

    def _prepare(self, sources: tuple[Source, Source]) -> tuple[Any, dict[str, Scalar]]:
        """The call to time, and what it took to get there: transfer and first call (compilation) in ms."""
        x, y = sources
        call: Any
        self._must_fit(sources)
        if self.placement == "host":
            call = stream(x, y, self.metric, self.reduction, self.device, self.memory_budget)
            return self._first_call(
                call,
                {
                    "stream.chunk_n": call.chunk_n,
                    "stream.device_bytes": call.device_bytes,
                    "stream.pinned_bytes": call.pinned_bytes,
                    "stream.relayed": call.relayed,
                    "memory_budget_bytes": self.memory_budget,
                },
            )
        with progress.step(f"making two vectors of {x.n:.4g} {str(x.dtype).removeprefix('torch.')}"):
            host_x, host_y = x.tensor(), y.tensor()
            start = time.perf_counter()
            device_x, device_y = host_x.to(self.device), host_y.to(self.device)
            self._wait()
        moved_ms = (time.perf_counter() - start) * 1e3 if self.device.type == "cuda" else 0.0
        call = plan(device_x, device_y, self.metric, self.reduction)
        return self._first_call(call, {"transfer_ms": self.group.slowest([moved_ms])[0]})

    def _first_call(self, call: Any, facts: dict[str, Scalar]) -> tuple[Any, dict[str, Scalar]]:
        if call.reduction == "blocked":
            facts = {**facts, "blocked.loop": call.running.loop}
        if self.device.type == "cuda":
            facts = {**facts, "tuning": tuning_table.origin(self.device)}
        if self.group.size > 1:
            self.group.exchange("ready")  # whoever could not prepare says so before the others compute
            call = distributed.RankPlan(call, self.metric, self.group.data)
        start = time.perf_counter()
        call()
        self._wait()
        first_ms = self.group.slowest([(time.perf_counter() - start) * 1e3])[0]
        return call, {**facts, "reduction": call.reduction, "first_call_ms": first_ms}

    def _value(self, call: Any, sources: tuple[Source, Source]) -> tuple[Reference, dict[str, Scalar]]:
        value = distributed.agreed(float(call()), self.group)
        with progress.step("computing the float64 reference"):
            truth = reference(*sources, self.metric, self.group.total)
            nans = sum(self.group.exchange(sum(source.nan_count() for source in sources)))
        if nans:
            progress.say(f"{nans} NaN in the input: they propagate into the distance")
        return truth, {
            "value": value,
            "reference": truth.value,
            "relative_error": truth.relative_error(value),
            "nan_count": nans,
        }

    def _timings(self, clock: Clock, call: Any, sources: tuple[Source, Source]) -> Results:
        name = {"distance": call}
        cold, hot, wall = (way(name)["distance"] for way in (clock.cold, clock.hot, clock.wall))
        copy = copy_bandwidth_gbps(self.device, group=self.group)
        bandwidth = self._bytes(sources) / cold.median_ms / 1e6
        values: dict[str, Scalar] = {
            **cold.quartiles("latency_ms"),
            "latency_hot_ms": hot.median_ms,
            **wall.quartiles("wall_ms"),
            "bandwidth_gbps": bandwidth,
            "copy_bandwidth_gbps": copy,
            "copy_share": bandwidth / copy,
            "repeats": len(cold.samples_ms),
        }
        if self.placement == "host" and self.device.type == "cuda":
            values["host_to_device_gbps"] = host_to_device_gbps(self.device)
        samples = {
            "latency_ms": cold.samples_ms,
            "latency_hot_ms": hot.samples_ms,
            "wall_ms": wall.samples_ms,
        }
        return Results(values, samples)

    def _clock(self, sources: tuple[Source, Source]) -> Clock:
        data_bytes = self._bytes(sources)
        return Clock(self.device, self.repeats, self.warmup, self.time_limit_s, data_bytes, self.group)

    def _bytes(self, sources: tuple[Source, Source]) -> int:
        """The fewest bytes that must be read: each vector once."""
        return sum(map(_size, sources))

    def _must_fit(self, sources: tuple[Source, Source]) -> None:
        """Raise UserError where there is not the memory: of the host for vectors that are made there, of the device."""
        made = [source for source in sources if getattr(source, "made_here", False)]
        free = psutil.virtual_memory().available
        if made:
            way_out = "data=file placement=host streams vectors from disk"
            self._check_memory(sum(map(_size, made)) * self.group.local_size, free, "memory", way_out)
        if self.placement == "host":
            return
        way_out = "placement=host streams them"
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
            self._check_memory(self._bytes(sources), free, "GPU memory", way_out)
        else:  # ranks of one machine share its memory
            self._check_memory(self._bytes(sources) * self.group.local_size, free, "memory", way_out)

    def _check_memory(self, needed: int, free: int, where: str, way_out: str) -> None:
        if needed > 0.95 * free:
            raise UserError(
                f"size={self.n:.4g}: the vectors need {format_bytes(needed)}, {format_bytes(free)} of {where} is free; "
                f"{way_out}"
            )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _size(source: Source) -> int:
    """Bytes of its elements."""
    return source.n * source.dtype.itemsize
