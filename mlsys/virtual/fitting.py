"""Costs found in what real runs measured: `cost.from=RECORD`.

A record tells for each load level how large batches were and how long each stage took. From that come, by least squares
over the levels and never below 0,

- of whole batches: what a batch takes and what each request adds (α·b + τ0). Reading and writing cannot be told apart
  there, so all of it counts as writing, in proportion to the answer's length;
- of steps (`server=continuous`): what a step takes, each sequence in it, each prompt, each token that is read;
- of the stages before generating, with the way to the worker's thread: what a batch takes and each request adds;
- of what lies outside all stages: what a request takes. Where it grows with the batch, answers are written one after
  the other, so that one waits for half of the others: that share keeps the event loop, the rest nobody.

How far the levels lie from what was fitted to them is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from mlsys import defaults
from mlsys.errors import UserError
from mlsys.rag.generator.simulated import TOKEN_BYTES
from mlsys.record import Record, Scalar, find, read
from mlsys.virtual.spread import spread

ROOM = ("slots", "slot_tokens", "blocks", "block_tokens")
ONE = 0.01  # as a share: sizes that differ by less are one
BEFORE = ("embed", "retrieve", "rerank", "prompt")
Floats = NDArray[np.float64]
Source = tuple[Record, Mapping[str, Scalar]]  # a record and one of its levels


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


def of_levels(found: Sequence[Source], name: str = "given") -> Fitted:
    """What these levels show."""
    good = [one for one in found if one[1].get("e2e_ms.mean") is not None]
    steps = [level for record, level in good if "step_ms.mean" in level]
    whole = [
        level
        for record, level in good
        if "step_ms.mean" not in level and _has(level, "stage_ms.generate.mean")
    ]
    if not steps and not whole:
        raise UserError(f"cost.from={name} tells of no load level what its stages took")
    tokens = float(np.mean([_number(level, "output_tokens.mean", 1.0) for level in [*steps, *whole]]))
    engine, off = _of_steps(good) if len(steps) >= len(whole) else _of_batches(whole)
    return Fitted(engine, _overheads(good), tokens, _memory(good), off)


def _memory(found: Sequence[Source]) -> dict[str, int]:
    """`slots`, and what memory the simulated engine takes for as many tokens as there was room for."""
    for record, _ in found:
        sizes = [record.results.get(f"pipeline.stepper.{name}") for name in ROOM]
        if all(isinstance(size, int) for size in sizes):
            slots, each, blocks, tokens = (int(size or 0) for size in sizes)
            return {"slots": slots, "kv_memory": (slots * each + (blocks + 1) * tokens) * TOKEN_BYTES}
    return {}


def _of_batches(levels: Sequence[Mapping[str, Scalar]]) -> tuple[dict[str, float], list[float]]:
    sizes = np.array([_met(level) for level in levels])
    times = np.array([_number(level, "stage_ms.generate.mean") for level in levels])
    written = sizes * np.array([_number(level, "output_tokens.mean", 1.0) for level in levels])
    knobs, off = _solved([np.array([_longest(level) for level in levels]), written], times)
    return dict(zip(("per_token_ms", "per_sequence_ms"), knobs, strict=True)) | _NOTHING_ELSE, off


_NOTHING_ELSE = {"base_ms": 0.0, "per_request_ms": 0.0}


def _longest(level: Mapping[str, Scalar]) -> float:
    """Tokens of the longest answer of a batch, on average: exactly so where lengths are drawn uniformly."""
    mean = _number(level, "output_tokens.mean", 1.0)
    most = _number(level, "output_tokens.max", mean)
    return most - 2 * (most - mean) / (_met(level) + 1)


def _of_steps(found: Sequence[Source]) -> tuple[dict[str, float], list[float]]:
    levels = [level for _, level in found if "step_ms.mean" in level]
    steps = np.array([_number(level, "steps") for level in levels])
    times = steps * np.array([_number(level, "step_ms.mean") for level in levels])
    usual = [
        float(n) * _number(level, "batch_size.mean", 1.0) for n, level in zip(steps, levels, strict=True)
    ]
    written = np.array(
        [_number(*each) for each in zip(levels, ["tokens_written"] * len(levels), usual, strict=True)]
    )
    prompts = written / np.array([_number(level, "output_tokens.mean", 1.0) for level in levels])
    knobs, off = _solved([steps, written, prompts], times)
    return dict(zip(("per_token_ms", "per_sequence_ms", "per_request_ms"), knobs, strict=True)) | {
        "base_ms": 0.0
    }, off


def _overheads(found: Sequence[Source]) -> dict[str, Any]:
    sizes = np.array([_met(level) for _, level in found])
    before = [
        sum(_number(level, f"stage_ms.{stage}.mean", 0.0) for stage in BEFORE)
        + _number(level, "handover_ms.mean", 0.0)
        for _, level in found
    ]
    ((base, each), _) = _solved([np.ones_like(sizes), sizes], np.array(before))
    cost: dict[str, Any] = {"batch_ms": base, "batch_request_ms": each} | _around(found)
    started = [s for record, _ in found if isinstance(s := record.results.get("startup_s"), float)]
    if started:
        cost["start_s"] = float(np.median(started))
    if factors := spread([level for _, level in found]):
        cost["spread"] = factors
    return cost


def _around(found: Sequence[Source]) -> dict[str, float]:
    """What lies outside the stages, of services alone and of balancers in front of them."""
    alone = [level for record, level in found if not _balanced(record)]
    behind = [level for record, level in found if _balanced(record)]
    levels = alone or behind
    measured = np.array([_outside(level) for level in levels])

    def off(knobs: Floats) -> Floats:
        said = np.array([_waited(level, *knobs) for level in levels])
        return np.asarray(said / np.maximum(measured, 1e-9) - 1)

    start = [float(measured.min()) / 2, float(measured.min()) / 4]
    request, half = (float(one) for one in least_squares(off, np.maximum(start, 1e-6), bounds=(0, np.inf)).x)
    loop = 2 * half
    if not alone:  # two services on the way: nothing tells whose it is
        return {"request_ms": request, "loop_ms": loop / 2, "balancer_ms": loop / 2}
    more = [_outside(level) - _waited(level, request, half) for level in behind]
    return {"request_ms": request, "loop_ms": loop} | (
        {"balancer_ms": max(0.0, float(np.median(more)))} if more else {}
    )


def _solved(columns: Sequence[Floats], values: Floats) -> tuple[list[float], list[float]]:
    """Factors of the columns that come nearest to the values, each value's error as a share of it; none below 0."""
    weights = 1 / np.maximum(values, 1e-9)
    matrix = np.stack(columns, axis=1) * weights[:, None]
    if any(np.ptp(columns[-1] / other) < ONE * np.mean(columns[-1] / other) for other in columns[:-1]):
        matrix[:, -1] = 0.0  # of one size, or length, only: it cannot be told apart
    factors, _ = nnls(matrix, np.where(values > 0, 1.0, 0.0))
    said = np.stack(columns, axis=1) @ factors
    return [float(one) for one in factors], [
        float(a / b - 1) for a, b in zip(said, values, strict=True) if b > 0
    ]


def _met(level: Mapping[str, Scalar]) -> float:
    """The size of the batch that a request meets on average: large ones have more requests to meet them."""
    sizes = {
        int(name.rpartition(".")[2]): float(count)
        for name, count in level.items()
        if name.startswith("batch_size.hist.") and isinstance(count, (int, float))
    }
    requests = sum(size * count for size, count in sizes.items())
    if not requests:
        return _number(level, "batch_size.mean", 1.0)
    return sum(size * size * count for size, count in sizes.items()) / requests


def _waited(level: Mapping[str, Scalar], request: float, half: float) -> float:
    """What a request takes outside of all stages, where each takes `half` of the event loop twice.

    On average half of those that are written together are written before it. In a closed loop their next requests come
    while the others are still written, and are read after that.
    """
    together = 1.0 if "step_ms.mean" in level else _met(level)
    reading = max(half, together * half - request) if level.get("concurrency") else half
    return request + half * (together + 1) / 2 + reading


def _outside(level: Mapping[str, Scalar]) -> float:
    return max(0.0, _number(level, "outside_ms.mean", 0.0) + _number(level, "stage_ms.respond.mean", 0.0))


def _balanced(record: Record) -> bool:
    server = record.config.get("server")
    return isinstance(server, Mapping) and bool(server.get("replicas"))


def _has(level: Mapping[str, Scalar], name: str) -> bool:
    return isinstance(level.get(name), (int, float))


def _number(level: Mapping[str, Scalar], name: str, otherwise: float | None = None) -> float:
    value = level.get(name)
    if isinstance(value, (int, float)):
        return float(value)
    if otherwise is None:
        raise UserError(f"cost.from: a load level does not tell {name}")
    return otherwise


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
