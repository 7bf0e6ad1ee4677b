"""A search's answer in words: the plans, the line that runs each, and what is not known of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from mlsys.plan import candidate
from mlsys.plan.known import Known
from mlsys.plan.objective import Price
from mlsys.plan.search import MORE, MOST_SIMULATED, Outcome, Search
from mlsys.report.table import text

FEW_LEVELS = 3
FAR_OFF = 0.15
STAGES = ("embed", "retrieve", "prompt")
TOLD_HARDWARE = 60  # characters


def title(outcome: Outcome) -> str:
    """`batch × 3, batches of up to 32`."""
    knobs = dict(outcome.candidate.knobs)
    size = f", batches of up to {knobs['batching.max_size']}" if "batching.max_size" in knobs else ""
    return f"{outcome.candidate.kind} × {outcome.candidate.replicas}{size}"


def plan(search: Search, outcome: Outcome, price: Price) -> list[str]:
    """What a plan costs, holds and has to spare, and its line."""
    figure, limit_ms = search.objective.figure, search.objective.limit_ms
    headroom = f"{100 * (1 - outcome.high_ms / limit_ms):.0f} % of the limit to spare"
    between = f"{text(outcome.low_ms)} to {text(outcome.high_ms)}"
    return [
        f"{title(outcome)}: {price.told(outcome.candidate.replicas)}.",
        f"{figure} {text(outcome.latency_ms)} ms (95 %: {between}), {headroom}; {_spare(search, outcome)}.",
        command(search, outcome),
    ]


def command(search: Search, outcome: Outcome) -> str:
    """The line that measures the plan."""
    return candidate.command(outcome.known.record.config, search.overrides(outcome.candidate))


def _spare(search: Search, outcome: Outcome) -> str:
    most = outcome.spare
    if most is None:
        return "what it has to spare was not tried"
    if most == 1.0:
        more = f"does not hold {MORE[0]:g} times the rate"
    else:
        more = f"holds {'at least ' * (most == MORE[-1])}{most:g} times the rate"
    lost = "and with one replica less as well" if outcome.survives else "not with one replica less"
    return more + (f", {lost}" if outcome.candidate.replicas > 1 else "")


def none(search: Search) -> str:
    """That nothing holds, and what came nearest."""
    asked = f"{text(search.rate_rps)} requests/s with {search.objective}"
    if not search.tried:
        alone = min(known.cost_ms(1) for known in search.records)
        if alone > search.objective.limit_ms:
            return f"No plan: one request alone takes {text(alone)} ms by the records, and {search.objective} is asked."
        least = min(search.least().values())
        return f"No plan holds {asked} with {search.most_replicas} replicas: it takes {least} or more (--max-replicas)."
    nearest = max(search.tried, key=lambda one: (one.share, -one.high_ms))
    within = f"{100 * nearest.share:.1f} % of requests within the limit"
    return (
        f"No plan holds {asked} with at most {search.most_replicas} replicas. The nearest is {title(nearest)}: "
        f"{within}, {search.objective.figure} {_or_none(nearest.latency_ms)}, {_or_none(nearest.high_ms)} at the most."
    )


def _or_none(latency_ms: float) -> str:
    return f"{text(latency_ms)} ms" if math.isfinite(latency_ms) else "not known"


def basis(records: Sequence[Known]) -> str:
    """What the plans come from."""
    runs = sum(len(known.records) for known in records)
    levels = sum(len(known.levels) for known in records)
    checked = [abs(off) for known in records for off in known.off]
    seen = max(known.largest for known in records)
    words = f"From {_count(runs, 'record')} with {_count(levels, 'level')}, batches of up to {seen}"
    if not checked:
        return words + "; the model could not be held against them."
    usual, worst = (f"{100 * off:.1f} %" for off in (statistics.median(checked), max(checked)))
    again = _count(len(checked), "level")
    return f"{words}; simulated again, {again} came out within {usual} at the median, {worst} at worst."


def unknown(search: Search, plans: Sequence[Outcome]) -> Iterator[str]:
    """What the plans rest on and nobody has measured."""
    for one in plans:
        if one.batch_max > one.known.largest:
            yield (
                f"{title(one)} has batches of up to {one.batch_max}; the largest measured had {one.known.largest}. "
                "What larger ones take is extrapolated."
            )
        if one.known.mode != one.candidate.mode:
            yield f"{title(one)}: no record of server={one.candidate.mode}, its cost is that of {one.known.mode}."
    used = {id(one.known): one.known for one in plans}.values() or search.records
    if sum(len(known.records) for known in search.records) == 1:
        yield "There is one record only: how much such runs differ from day to day is not in the intervals."
    for known in used:
        yield from _of_records(known)
    modes = {known.mode for known in search.records}
    if "continuous" not in modes:
        yield "Token by token (server=continuous) was not tried: there is no record of it."
    if any(one.candidate.replicas > 1 for one in plans):
        hardware = _hardware(plans[0].known)
        yield f"Each replica is taken to have the record's hardware{hardware} to itself; on one device they share it."
        if not any(one.config["server"]["name"] == "lb" for known in search.records for one in known.records):
            yield "What a balancer adds to a request was not measured: there is no record of server=lb."
    if any(one.candidate.replicas > MOST_SIMULATED for one in plans):
        yield f"Of more than {MOST_SIMULATED} replicas so many were simulated, with their share of the rate."
    yield "Users are independent (Poisson). Bursts, failures and restarts were not simulated."
    if search.ended_early:
        yield f"The search ended after {search.budget_s:g} s: other plans may be as cheap."


def _of_records(known: Known) -> Iterator[str]:
    levels, of = known.levels, f"server={known.mode}"
    if len(levels) < FEW_LEVELS:
        yield f"The records of {of} have {_count(len(levels), 'level')}: costs fitted to so few may not hold at others."
    elif known.mode == "batch" and len({level.get("batch_size.max") for level in levels}) == 1:
        yield "All levels of the records had batches of one size: what others take is a guess."
    if any(level.get("valid") is False for level in levels):
        yield f"A level of the records of {of} is not valid: its client was the limit."
    if missing := [name for name in STAGES if f"stage_ms.{name}.mean" not in levels[-1]]:
        yield f"The records of {of} do not tell the stages {', '.join(missing)}: they are taken to cost nothing."
    if known.off and abs(worst := max(known.off, key=abs)) > FAR_OFF:
        yield f"At one level of {of} the model is off by {100 * worst:+.0f} %: near such loads trust no plan."


def _hardware(known: Known) -> str:
    hardware: Any = known.record.environment.get("hardware") or {}
    gpus = hardware.get("gpus") or []
    name = gpus[0].get("name") if gpus and isinstance(gpus[0], dict) else hardware.get("cpu")
    return f" ({str(name)[:TOLD_HARDWARE]})" if name else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
