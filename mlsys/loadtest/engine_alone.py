"""What the engine can do by itself, after the levels: a ceiling beside what the service reached of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsys import progress
from mlsys.errors import cause
from mlsys.loadtest import ceiling, children
from mlsys.loadtest.options import Load
from mlsys.record import Level, Results, Scalar


def measured(
    config: Mapping[str, Any], directory: Path, load: Load, levels: Sequence[Level]
) -> Iterator[Results]:
    """Its rate at the levels' batch sizes. The levels are measured: where it cannot run, the record says why."""
    try:
        yield from _rates(config, directory, load, levels)
    except (OSError, RuntimeError) as error:
        progress.say(f"the engine alone was not measured: {cause(error)}")
        yield Results({"engine.error": cause(error)})


def _rates(
    config: Mapping[str, Any], directory: Path, load: Load, levels: Sequence[Level]
) -> Iterator[Results]:
    other = _asked_otherwise(load)
    sizes = (
        sorted({int(level.values["engine_batch"] or 1) for level in levels})
        if load.engine_ceiling and not other
        else []
    )
    if load.engine_ceiling and other:
        yield Results(
            {"engine.error": f"loadtest.{other}: the engine alone is not asked what the service is"}
        )
    path = directory / "engine.json"
    ceiling.write(path, config, sizes, load)
    with progress.step("the engine alone, at the levels' batch sizes", len(sizes)) as bar:
        for event in children.events(
            "mlsys.loadtest.ceiling", path, directory / "engine.log", None, lambda: None
        ):
            if event["event"] == "rate":
                bar.advance()
                yield Results(_reached(event["batch"], event["rate_rps"], levels))
            elif event["event"] == "end":
                yield Results(event["values"])


def _asked_otherwise(load: Load) -> str | None:
    """Which option has the service asked what the engine alone is not."""
    options = {"questions": load.questions is not None, "turns": load.turns > 1}
    return next((name for name, other in options.items() if other), None)


def _reached(batch: int, rate_rps: float, levels: Sequence[Level]) -> dict[str, Scalar]:
    """`engine.batch_<b>.throughput_rps`, and the share of it that the best level of that size reached."""
    reached = [level.values["throughput_rps"] for level in levels if level.values["engine_batch"] == batch]
    best = max((rate for rate in reached if isinstance(rate, (int, float))), default=0.0)
    return {
        f"engine.batch_{batch}.throughput_rps": rate_rps,
        f"engine.batch_{batch}.reached": best / rate_rps,
    }
