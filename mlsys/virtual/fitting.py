"""Costs found in what real runs measured: `cost.from=RECORD`.

A record tells for each load level how large batches were and how long each stage took. From that come, by least squares
over the levels and never below 0,

- of whole batches: what a batch takes and what each request adds (α·b + τ0), and what one takes longer that begins
  after a pause. Reading and writing cannot be told apart there, so all of it counts as writing, in proportion to the
  answer's length;
- of steps (`server=continuous`): what a step takes that reads prompts, each prompt in it, a step that writes, each
  sequence in it; with what passes between two steps;
- how far off these lines the sizes are that were measured (`shape`);
- of the stages before generating, with the way to the worker's thread: what a batch takes and each request adds;
- of what lies outside all stages: see `mlsys.virtual.around`.

How far the levels lie from what was fitted to them is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlsys import defaults
from mlsys.errors import UserError
from mlsys.rag.generator.simulated import TOKEN_BYTES
from mlsys.record import Record, Scalar, find, read
from mlsys.virtual.around import around
from mlsys.virtual.engine_costs import of_batches, of_steps
from mlsys.virtual.seen import Source, before, has, met, number, solved
from mlsys.virtual.spread import spread

ROOM = ("slots", "slot_tokens", "blocks", "block_tokens")


@dataclass(frozen=True)
class Fitted:
    """The knobs of the sections `generator` and `cost` that records show, and how well.

    `off`: how far each level's engine time lies from what the knobs say, as a share.
    """

    generator: Mapping[str, float]
    cost: Mapping[str, Any]
    tokens: float
    memory: Mapping[str, int] = field(default_factory=dict)
    off: Sequence[float] = field(default_factory=list)

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with them; what it states itself of `cost` stays, and so does an answer's length."""
        given = {name: value for name, value in (config.get("cost") or {}).items() if value is not None}
        length = config["generator"].get("max_new_tokens") or max(1, round(self.tokens))
        longest = config["generator"].get("max_prompt_tokens")
        engine = {**defaults.section("generator", "simulated"), **self.generator, "max_new_tokens": length}
        engine |= {"max_prompt_tokens": longest} if longest else {}
        scheduling = {**config["scheduling"], **self.memory}
        return {
            **config, "generator": engine, "cost": {**self.cost, **given}, "scheduling": scheduling, "device": "cpu",
        }  # fmt: skip

    def described(self) -> dict[str, Scalar]:
        """`cost.fit.<knob>`, `cost.fit.levels`, and the root of the mean square and the worst of `off`."""
        knobs = {**self.generator, **self.cost}
        shown: dict[str, Scalar] = {
            f"cost.fit.{name}": value for name, value in knobs.items() if not isinstance(value, list)
        }
        off = np.asarray(self.off)
        residuals = {"residual": float(np.sqrt(np.mean(off**2))), "worst": float(np.abs(off).max())}
        return (
            shown
            | {"cost.fit.levels": len(off)}
            | {f"cost.fit.{name}": one for name, one in residuals.items()}
        )


def fit(*sources: Path) -> Fitted:
    """What the records in and below `sources` show. Raises UserError where they show too little."""
    found: list[Source] = []
    for source in sources:
        found += [(record, level) for record in _records(source) for level in record.levels]
    return of_levels(found, ", ".join(map(str, sources)))


def of_levels(found: Sequence[Source], name: str = "given", also: Sequence[Source] = ()) -> Fitted:
    """What these levels show. `also`: levels of other engines on the same machine, for what lies around an engine."""
    good = [one for one in found if one[1].get("e2e_ms.mean") is not None]
    steps = [one for one in good if has(one[1], "step_ms.mean")]
    whole = [one for one in good if one not in steps and has(one[1], "stage_ms.generate.mean")]
    if not steps and not whole:
        raise UserError(f"cost.from={name} tells of no load level what its stages took")
    tokens = float(np.mean([number(level, "output_tokens.mean", 1.0) for _, level in [*steps, *whole]]))
    chosen = steps if len(steps) >= len(whole) else whole
    engine, beyond, off = of_steps([level for _, level in steps]) if chosen is steps else of_batches(whole)
    outside = around([*good, *(one for one in also if one[1].get("e2e_ms.mean") is not None)])
    cost = _overheads(chosen) | outside | beyond
    return Fitted(engine, cost, tokens, _memory(good), off)


def _memory(found: Sequence[Source]) -> dict[str, int]:
    """`slots`, and what memory the simulated engine takes for as many tokens as there was room for."""
    for record, _ in found:
        sizes = [record.results.get(f"pipeline.stepper.{name}") for name in ROOM]
        if all(isinstance(size, int) for size in sizes):
            slots, each, blocks, tokens = (int(size or 0) for size in sizes)
            return {"slots": slots, "kv_memory": (slots * each + (blocks + 1) * tokens) * TOKEN_BYTES}
    return {}


def _overheads(found: Sequence[Source]) -> dict[str, Any]:
    """What the stages before generating take, what starting does, and how batches differ."""
    levels = [level for _, level in found]
    if any(has(level, "step_ms.mean") for level in levels):  # prompts are prepared as they come
        waits = [number(level, "stage_ms.queue.p50", 0.0) for level in levels]
        base, each = float(np.median([before(level) for level in levels])) + min(waits), 0.0
    else:
        sizes = np.array([met(level) for level in levels])
        ((base, each), _) = solved(
            [np.ones_like(sizes), sizes], np.array([before(level) for level in levels])
        )
    cost: dict[str, Any] = {"batch_ms": base, "batch_request_ms": each}
    started = [s for record, _ in found if isinstance(s := record.results.get("startup_s"), float)]
    if started:
        cost["start_s"] = float(np.median(started))
    if factors := spread(levels):
        cost["spread"] = factors
    return cost


def _records(source: Path) -> list[Record]:
    """The finished serving runs there. Raises UserError where there is none, or what there is was simulated itself."""
    if not source.exists():
        raise UserError(f"cost.from={source} is not there: it takes a run's directory or its record.json")
    try:
        records = [read(source)] if source.is_file() else [record for _, record in find([source])]
    except ValueError as error:
        raise UserError(f"cost.from: {error}") from None
    real = [one for one in records if one.status == "ok" and one.workload == "serving"]
    if not real:
        raise UserError(f"cost.from={source} holds no finished serving run")
    if any(one.results.get("clock") == "virtual" for one in real):
        raise UserError(f"cost.from={source} was simulated itself: costs are found in real runs")
    return real
