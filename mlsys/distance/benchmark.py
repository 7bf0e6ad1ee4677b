"""The distance benchmark: one metric, one reduction, one pair of vectors, measured beside its baselines."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from mlsys import progress
from mlsys.distance import plan, stream
from mlsys.distance.baseline import Prepared, Unavailable, get
from mlsys.distance.reference import reference
from mlsys.distance.source import Source
from mlsys.errors import UserError
from mlsys.quantities import format_bytes
from mlsys.record import Results, Scalar
from mlsys.timing import Clock, Timing, copy_bandwidth_gbps, host_to_device_gbps


@dataclass
class DistanceBenchmark:
    """Measures one configuration.

    Args:
        metric, reduction: instances; `data.open(n, dtype, seed)` gives the two sources.
        placement: `device` holds both vectors there; `host` streams them within `memory_budget` bytes.
        repeats, warmup, time_limit_s: see `timing.Clock`.
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
    kind: str = "distance"

    def measure(self) -> Iterator[Results]:
        """Value and error first, then the timings, then the baselines in turn with another round of ours."""
        modules = {name: get(name) for name in self.baselines}
        with progress.step(f"opening {self.data.name} data"):
            sources = self.data.open(self.n, self.dtype, self.seed)
        yield Results(self._conditions(sources))
        call, facts = self._prepare(sources)
        yield Results(facts)
        yield Results(self._value(call, sources))
        clock = self._clock(sources)
        with progress.step(f"timing {self.metric.name}, {call.reduction}"):
            yield self._timings(clock, call, sources)
        if modules:
            yield from self._baselines(clock, call, modules, sources)

    def _conditions(self, sources: tuple[Source, Source]) -> dict[str, Scalar]:
        x, y = sources
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "n": x.n,
            "dtype": str(x.dtype).removeprefix("torch."),
            "device": self.device.type,
            "device_name": name,
            "placement": self.placement,
            "threads": torch.get_num_threads(),
            "data.x": x.description,
            "data.y": y.description,
        }

    def _prepare(self, sources: tuple[Source, Source]) -> tuple[Any, dict[str, Scalar]]:
        """The call to time, and what it took to get there: transfer and first call (compilation) in ms."""
        x, y = sources
        call: Any
        if self.placement == "host":
            call = stream(x, y, self.metric, self.reduction, self.device, self.memory_budget)
            return self._first_call(
                call,
                {
                    "stream.chunk_n": call.chunk_n,
                    "stream.device_bytes": call.device_bytes,
                    "stream.pinned_bytes": call.pinned_bytes,
                    "memory_budget_bytes": self.memory_budget,
                },
            )
        self._must_fit(x.n * x.dtype.itemsize * 2)
        with progress.step(f"making two vectors of {x.n:.4g} {str(x.dtype).removeprefix('torch.')}"):
            host_x, host_y = x.tensor(), y.tensor()
            start = time.perf_counter()
            device_x, device_y = host_x.to(self.device), host_y.to(self.device)
            self._wait()
        moved_ms = (time.perf_counter() - start) * 1e3 if self.device.type == "cuda" else 0.0
        call = plan(device_x, device_y, self.metric, self.reduction)
        return self._first_call(call, {"transfer_ms": moved_ms})

    def _first_call(self, call: Any, facts: dict[str, Scalar]) -> tuple[Any, dict[str, Scalar]]:
        start = time.perf_counter()
        call()
        self._wait()
        first_ms = (time.perf_counter() - start) * 1e3
        return call, {**facts, "reduction": call.reduction, "first_call_ms": first_ms}

    def _value(self, call: Any, sources: tuple[Source, Source]) -> dict[str, Scalar]:
        value = float(call())
        with progress.step("computing the float64 reference"):
            truth = reference(*sources, self.metric)
            nans = sum(source.nan_count() for source in sources)
        if nans:
            progress.say(f"{nans} NaN in the input: they propagate into the distance")
        return {
            "value": value,
            "reference": truth.value,
            "relative_error": _relative_error(value, truth.value, truth.scale),
            "nan_count": nans,
        }

    def _timings(self, clock: Clock, call: Any, sources: tuple[Source, Source]) -> Results:
        name = {"distance": call}
        cold, hot, wall = (way(name)["distance"] for way in (clock.cold, clock.hot, clock.wall))
        copy = copy_bandwidth_gbps(self.device)
        bandwidth = self._bytes(sources) / cold.median_ms / 1e6
        values: dict[str, Scalar] = {
            **_quartiles("latency_ms", cold),
            "latency_hot_ms": hot.median_ms,
            **_quartiles("wall_ms", wall),
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

    def _baselines(
        self, clock: Clock, call: Any, modules: dict[str, Any], sources: tuple[Source, Source]
    ) -> Iterator[Results]:
        """Each baseline that can run, in turn with ours; `speedup.<name>` compares within these rounds alone."""
        prepared: dict[str, Prepared] = {}
        places: dict[str, str] = {}
        failed: dict[str, Scalar] = {}
        vectors = _Vectors(sources, self.device)
        for name, module in modules.items():
            try:
                prepared[name] = module.prepare(*vectors.at(module.WHERE), self.metric.name)
                places[name] = module.WHERE if self.device.type == "cuda" else "device"
                prepared[name].call()
            except (Unavailable, torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                prepared.pop(name, None)
                failed[f"baseline.{name}.error"] = str(error).splitlines()[0]
                progress.say(f"baseline {name} did not run: {failed[f'baseline.{name}.error']}")
        yield Results(failed)
        for place in ("device", "cpu"):  # on a CPU all share one set of rounds
            chosen = {name: item for name, item in prepared.items() if places[name] == place}
            if chosen:
                with progress.step(f"timing baselines {', '.join(chosen)}"):
                    yield self._rounds(clock, call, chosen, on_host=place == "cpu")

    def _rounds(self, clock: Clock, call: Any, chosen: dict[str, Prepared], on_host: bool) -> Results:
        """One set of rounds. Host functions are timed as their caller waits, and ours then is too."""
        functions = {"ours": call, **{name: item.call for name, item in chosen.items()}}
        timings = (clock.wall if on_host and self.device.type == "cuda" else clock.cold)(functions)
        ours = timings.pop("ours")
        values: dict[str, Scalar] = {}
        for name, timing in timings.items():
            values |= _quartiles(f"baseline.{name}.latency_ms", timing)
            values[f"baseline.{name}.expression"] = chosen[name].expression
            values[f"speedup.{name}"] = timing.median_ms / ours.median_ms
        return Results(
            values, {f"baseline.{name}.latency_ms": row.samples_ms for name, row in timings.items()}
        )

    def _clock(self, sources: tuple[Source, Source]) -> Clock:
        return Clock(self.device, self.repeats, self.warmup, self.time_limit_s, self._bytes(sources))

    def _bytes(self, sources: tuple[Source, Source]) -> int:
        """The fewest bytes that must be read: each vector once."""
        return sum(source.n * source.dtype.itemsize for source in sources)

    def _must_fit(self, needed: int) -> None:
        free = psutil.virtual_memory().available
        where = "memory"
        if self.device.type == "cuda":
            free, where = torch.cuda.mem_get_info(self.device)[0], "GPU memory"
        if needed > 0.95 * free:
            raise UserError(
                f"size={self.n:.4g}: the vectors need {format_bytes(needed)}, {format_bytes(free)} of {where} is free; "
                "placement=host streams them"
            )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _Vectors:
    """The vectors where a baseline wants them, each copy made once and only if wanted."""

    def __init__(self, sources: tuple[Source, Source], device: torch.device) -> None:
        self._sources, self._places = sources, {"device": device, "cpu": torch.device("cpu")}
        self._made: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def at(self, where: str) -> tuple[torch.Tensor, torch.Tensor]:
        place = self._places[where]
        if place not in self._made:
            x, y = self._sources
            self._made[place] = (x.tensor().to(place), y.tensor().to(place))
        return self._made[place]


def _quartiles(name: str, timing: Timing) -> dict[str, Scalar]:
    return {
        name: timing.median_ms,
        f"{name}_p25": timing.quantile_ms(0.25),
        f"{name}_p75": timing.quantile_ms(0.75),
    }


def _relative_error(value: float, truth: float, scale: float) -> float:
    """|value − truth| / scale; 0 where both are the same infinity or both nan."""
    if value == truth or (math.isnan(value) and math.isnan(truth)):
        return 0.0
    return abs(value - truth) / scale if scale else math.inf
