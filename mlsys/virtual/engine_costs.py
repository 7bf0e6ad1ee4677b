"""What an engine's batches and steps take, fitted to what load levels of records tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsys.record import Record, Scalar
from mlsys.virtual.cost import Overheads, rested
from mlsys.virtual.seen import Floats, Source, follows, has, met, number, solved

QUANTILES = 100
RESTED = 0.05  # of `idle_ms`, met on average: with less a level has no pauses
ALIKE = 0.1  # as a share: sizes that differ by less have one place in a shape
Costs = tuple[
    dict[str, float], dict[str, Any], list[float]
]  # the generator's, what is beyond them, how far off


def of_batches(found: Sequence[Source]) -> Costs:
    """Sizes from levels without pauses, where there are some, and what pauses cost from the others."""
    woken = np.array([_woken(record, level) for record, level in found])
    paused = woken > RESTED
    steady = [level for (_, level), one in zip(found, paused, strict=True) if not one]
    if not steady:
        columns, times = _columns([level for _, level in found])
        (token, idle, sequence), off = solved([columns[0], woken, columns[1]], times)
        return _lock_step(token, sequence), {"idle_ms": idle}, off
    columns, times = _columns(steady)
    (token, sequence), _ = solved(columns, times)
    sizes = np.array([met(level) for level in steady])
    shape, off = _shape(sizes, times, token * columns[0] + sequence * columns[1])
    if not paused.any():
        return _lock_step(token, sequence), shape, off
    others = [level for (_, level), one in zip(found, paused, strict=True) if one]
    columns, times = _columns(others)
    factor = Overheads(shape=tuple(tuple(place) for place in shape.get("shape", ()))).factor
    factors = np.array([factor(met(level)) for level in others])
    more = times - factors * (token * columns[0] + sequence * columns[1])
    idle = max(0.0, float(more @ woken[paused] / (woken[paused] @ woken[paused])))
    off += [
        float((time - one + idle * share) / time - 1)
        for time, one, share in zip(times, more, woken[paused], strict=True)
    ]
    return _lock_step(token, sequence), {"idle_ms": idle} | shape, off


def _lock_step(token: float, sequence: float) -> dict[str, float]:
    return {"per_token_ms": token, "per_sequence_ms": sequence, "base_ms": 0.0, "per_request_ms": 0.0}


def _columns(levels: Sequence[Mapping[str, Scalar]]) -> tuple[list[Floats], Floats]:
    """Tokens of a batch's longest answer and of all its answers, and what it took."""
    sizes = np.array([met(level) for level in levels])
    written = sizes * np.array([number(level, "output_tokens.mean", 1.0) for level in levels])
    times = np.array([number(level, "stage_ms.generate.mean") for level in levels])
    return [np.array([_longest(level) for level in levels]), written], times


def _woken(record: Record, level: Mapping[str, Scalar]) -> float:
    """How much of `idle_ms` a level's batches met on average: pauses between independent users are exponential."""
    rate = level.get("offered_rate_rps")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return 0.0
    server = record.config.get("server")
    replicas = server.get("replicas") if isinstance(server, Mapping) else None
    pause_s = (replicas if isinstance(replicas, int) else 1) / rate
    pauses_s = -pause_s * np.log1p(-(np.arange(QUANTILES) + 0.5) / QUANTILES)
    return (1 - follows(level)) * float(np.mean([rested(one) for one in pauses_s]))


def _longest(level: Mapping[str, Scalar]) -> float:
    """Tokens of the longest answer of a batch, on average: exactly so where lengths are drawn uniformly."""
    mean = number(level, "output_tokens.mean", 1.0)
    most = number(level, "output_tokens.max", mean)
    return most - 2 * (most - mean) / (met(level) + 1)


def of_steps(levels: Sequence[Mapping[str, Scalar]]) -> Costs:
    """Reading apart from writing where it is told which steps read; else what it takes counts for each prompt."""
    told = [level for level in levels if has(level, "steps.reading")]
    levels = told or levels
    steps = np.array([number(level, "steps") for level in levels])
    times = steps * np.array([number(level, "step_ms.mean") for level in levels])
    usual = steps * np.array([number(level, "batch_size.mean", 1.0) for level in levels])
    written = np.array(
        [number(level, "tokens_written", float(n)) for level, n in zip(levels, usual, strict=True)]
    )
    prompts = written / np.array([number(level, "output_tokens.mean", 1.0) for level in levels])
    reading = np.array([number(level, "steps.reading", 0.0) for level in levels])
    columns, values = [reading, prompts, steps, written], times
    if told:  # and once more for the steps that read alone
        members = np.array([number(level, "steps.reading_sequences") for level in levels])
        alone = reading * np.array([number(level, "step_ms.reading") for level in levels])
        columns = [
            np.concatenate(pair) for pair in zip(columns, (reading, prompts, reading, members), strict=True)
        ]
        values = np.concatenate([times, alone])
    (base, request, token, sequence), _ = solved(columns, values)
    said = base * reading + request * prompts + token * steps + sequence * written
    shape, off = _shape(written / steps, times, said)
    more, each = _between(levels, written / steps)
    engine = {
        "base_ms": base,
        "per_request_ms": request,
        "per_token_ms": token + more,
        "per_sequence_ms": sequence + each,
    }
    return engine, shape, off


def _between(levels: Sequence[Mapping[str, Scalar]], sizes: Floats) -> tuple[float, float]:
    """What passes between two steps, and for each sequence in them."""
    gaps = np.array([number(level, "step_gap_ms.mean", 0.0) for level in levels])
    if not gaps.any():
        return 0.0, 0.0
    (more, each), _ = solved([np.ones_like(sizes), sizes], gaps)
    return more, each


def _shape(sizes: Floats, times: Floats, said: Floats) -> tuple[dict[str, Any], list[float]]:
    """How far each size lies off the line, where at least three tell; and what is off then."""
    good = said > 0
    sizes, ratios = sizes[good], times[good] / said[good]
    places = list[tuple[float, float]]()
    order = np.argsort(sizes)
    for group in np.split(order, 1 + np.flatnonzero(np.diff(sizes[order]) > ALIKE * sizes[order][:-1])):
        if len(group):
            places.append((float(sizes[group].mean()), float(np.median(ratios[group]))))
    if len(places) < 3:
        return {}, [float(1 / ratio - 1) for ratio in ratios]
    factors = np.interp(sizes, [size for size, _ in places], [ratio for _, ratio in places])
    off = [float(factor / ratio - 1) for factor, ratio in zip(factors, ratios, strict=True)]
    return {"shape": [list(place) for place in places]}, off
