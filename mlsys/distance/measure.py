"""The baselines of a distance benchmark: made ready, then timed in turn with ours in rounds of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mlsys import progress
from mlsys.distance.baseline import WRONG, Baseline, Prepared, Unavailable
from mlsys.distance.expected import Reference
from mlsys.distance.metrics import Metric
from mlsys.distance.source import Source
from mlsys.record import Results, Scalar
from mlsys.timing import Clock, Timing


def measure(
    clock: Clock,
    ours: Callable[[], object],
    modules: Mapping[str, Baseline],
    sources: tuple[Source, Source],
    metric: Metric,
    truth: Reference,
) -> Iterator[Results]:
    """Each baseline that can run, in turn with ours; `speedup.<name>` compares within these rounds alone, whose median
    of ours is `baseline.<name>.ours_ms`.

    On a GPU host functions are timed as their caller waits, and ours then is too; on a CPU all share one set of
    rounds. A baseline that is wrong, as a sum of float16 that overflows, is timed and said to be.
    """
    prepared: dict[str, Prepared] = {}
    failed: dict[str, str] = {}
    values: dict[str, Scalar] = {}
    vectors = _Vectors(sources, clock.device)
    for name, module in modules.items():
        try:
            made = module.prepare(*vectors.at(module.WHERE), metric)
            values |= _judged(name, made, truth)
            prepared[name] = made
        except (Unavailable, torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            failed[name] = str(error).splitlines()[0]
    yield Results({**left_out(failed).values, **values})
    on_gpu = clock.device.type == "cuda"
    for on_host in (False, True):
        chosen = {
            name: item
            for name, item in prepared.items()
            if (on_gpu and modules[name].WHERE == "cpu") == on_host
        }
        if chosen:
            with progress.step(f"timing baselines {', '.join(chosen)}"):
                yield _rounds(clock.wall if on_host else clock.cold, ours, chosen)


def left_out(reasons: Mapping[str, str]) -> Results:
    """Why baselines that were asked for did not run, in the record and on the console."""
    for name, reason in reasons.items():
        progress.say(f"baseline {name} did not run: {reason}")
    return Results({f"baseline.{name}.error": reason for name, reason in reasons.items()})


@np.errstate(all="ignore")  # whose warnings would stand between our lines; the error says more
def _judged(name: str, made: Prepared, truth: Reference) -> dict[str, Scalar]:
    """Call a baseline for the first time, and hold its answer to the reference."""
    answer: Any = made.call()
    if not made.exact:
        return {}
    value = float(answer.reshape(-1)[0] if hasattr(answer, "reshape") else answer)
    error = truth.relative_error(value)
    if error > WRONG:
        progress.say(f"baseline {name} is wrong: {value:.4g} where the distance is {truth.value:.4g}")
    return {f"baseline.{name}.relative_error": error}


@np.errstate(all="ignore")
def _rounds(
    way: Callable[[Mapping[str, Callable[[], object]]], dict[str, Timing]],
    ours: Callable[[], object],
    chosen: dict[str, Prepared],
) -> Results:
    timings = way({"ours": ours, **{name: item.call for name, item in chosen.items()}})
    own = timings.pop("ours")
    values: dict[str, Scalar] = {}
    for name, timing in timings.items():
        values |= timing.quartiles(f"baseline.{name}.latency_ms")
        values[f"baseline.{name}.expression"] = chosen[name].expression
        values[f"baseline.{name}.ours_ms"] = own.median_ms
        values[f"speedup.{name}"] = timing.median_ms / own.median_ms
    return Results(values, {f"baseline.{name}.latency_ms": row.samples_ms for name, row in timings.items()})


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
