"""What a service says of itself on `/stats`, read field by field: a stranger may say anything there.

A field that is not what it should be is not read; the others are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mlsys.loadtest.answer import PRINTABLE
from mlsys.record import Scalar
from mlsys.roofline import judged

PATH = "/stats"
MOST_FIELDS = 100
LONGEST_TEXT = 300
LARGEST = 2**53  # beyond it readers of JSON disagree about a whole number

Value = TypeVar("Value")
Text = Annotated[str, Field(strict=True, max_length=LONGEST_TEXT, pattern=PRINTABLE)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]


class Replica(BaseModel):
    """What is read of one of a balancer's replicas."""

    model_config = ConfigDict(strict=True)
    gpu: Text


NAMES = TypeAdapter[str](Text)
COUNTS = TypeAdapter[int](Count)
SCALARS = TypeAdapter[Scalar](Annotated[bool, Field(strict=True)] | Whole | Finite | Text | None)
REPLICAS = TypeAdapter[Replica](Replica)


@dataclass(frozen=True)
class Stats:
    """`closed`: batches closed, by reason. `pipeline`: what answers. `gpus`: each replica's, by its name.

    `cycles`: how often, and for how many microseconds in all, an engine under load went from batch to batch.
    `handovers`: the same of a batch's way to its thread and back.
    `steps` and `tokens`: what a scheduler of tokens counts (`mlsys.serving.continuous.meters`).
    `decoded`: what engines decoded, by batch size (`mlsys.roofline.counts`).
    `upstream`: what was asked of servers at an address, and how it ended (`mlsys.rag.upstream`).
    `front`: how long the event loop that has the clients' connections has had a processor, and its clock.
    """

    closed: Mapping[str, int] = field(default_factory=dict)
    pipeline: Mapping[str, Scalar] = field(default_factory=dict)
    gpus: Mapping[str, str] = field(default_factory=dict)
    cycles: Mapping[str, int] = field(default_factory=dict)
    handovers: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    upstream: Mapping[str, int] = field(default_factory=dict)
    decoded: Mapping[str, int] = field(default_factory=dict)
    front: Mapping[str, int] = field(default_factory=dict)


def read(content: Any) -> Stats:
    """What of `/stats` is as it should be. `content`: parsed JSON, or None where the service has none."""
    replicas = _group(content, "replicas", REPLICAS)
    return Stats(
        closed=_group(content, "closed", COUNTS),
        pipeline=_group(content, "pipeline", SCALARS),
        gpus={name: replica.gpu for name, replica in replicas.items()},
        cycles=_group(content, "cycles", COUNTS),
        handovers=_group(content, "handovers", COUNTS),
        steps=_group(content, "steps", COUNTS),
        tokens=_group(content, "tokens", COUNTS),
        upstream=_group(content, "upstream", COUNTS),
        decoded=_group(content, "decoded", COUNTS),
        front=_group(content, "front", COUNTS),
    )


def difference(before: Stats, after: Stats) -> dict[str, Scalar]:
    """What happened during a level, warm-up included. Nothing where not told, before it or after it.

    `closed_by.<reason>`: batches closed for each reason. `cycle_ms.mean`: from one batch's start to the next one's,
    where requests were waiting meanwhile; queueing theory's service time. `cycles`: how many such there were.
    `handover_ms.mean`: from the event loop to the worker's thread and back, for each batch.
    `front.cpu_share`: of the time, how much the event loop that has the clients' connections had a processor.
    """
    if before == Stats():
        return {}  # what was counted may be of earlier levels
    closed = _since(before.closed, after.closed)
    found: dict[str, Scalar] = {f"closed_by.{reason}": count for reason, count in closed.items()}
    cycles = _since(before.cycles, after.cycles)
    if (mean_ms := _mean_ms(cycles)) is not None:
        found |= {"cycles": cycles["count"], "cycle_ms.mean": mean_ms}
    if (mean_ms := _mean_ms(_since(before.handovers, after.handovers))) is not None:
        found["handover_ms.mean"] = mean_ms
    steps = _since(before.steps, after.steps)
    front = _since(before.front, after.front)
    share = min(1.0, front.get("cpu_us", 0) / clock_us) if (clock_us := front.get("clock_us")) else None
    found |= {} if share is None else {"front.cpu_share": share}
    found |= judged.level(_since(before.decoded, after.decoded), after.pipeline, share or 0.0)
    found |= _upstream(_since(before.upstream, after.upstream))
    return found | _steps(steps, after.pipeline) | _tokens(_since(before.tokens, after.tokens))


def _upstream(counts: Mapping[str, int]) -> dict[str, Scalar]:
    """`upstream.generator.requests` and so on; `upstream.generator.ttft_ms.mean`: from sending to the first text."""
    found: dict[str, Scalar] = {}
    for name, count in counts.items():
        part, _, what = name.partition(".")
        if what == "first_texts_us":
            if times := counts.get(f"{part}.first_texts", 0):
                found[f"upstream.{part}.ttft_ms.mean"] = count / times / 1e3
        elif what != "first_texts":
            found[f"upstream.{name}"] = count
    return found


def _steps(steps: Mapping[str, int], pipeline: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """`steps`, `step_ms.mean`, and `kv_usage.mean`: the share of the slots' tokens that were held, over all steps.

    `steps.reading`, `step_ms.reading`, `steps.reading_sequences`: those that read prompts, their mean, and how many
    tokens they gave. `step_gap_ms.mean`: from one step's end to the next one's beginning, where sequences went on.
    """
    if not (count := steps.get("count", 0)):
        return {}
    found: dict[str, Scalar] = {"steps": count}
    if (mean_ms := _mean_ms(steps)) is not None:
        found["step_ms.mean"] = mean_ms
    if (reading := steps.get("reading", 0)) and "reading_us" in steps and "reading_sequences" in steps:
        found["steps.reading"], found["step_ms.reading"] = reading, steps["reading_us"] / reading / 1e3
        found["steps.reading_sequences"] = steps["reading_sequences"]
    if (gaps := steps.get("gaps", 0)) and "gaps_us" in steps:
        found["step_gap_ms.mean"] = steps["gaps_us"] / gaps / 1e3
    slots, each = (pipeline.get(f"stepper.{name}") for name in ("slots", "slot_tokens"))
    if "held_tokens" in steps and isinstance(slots, int) and isinstance(each, int) and slots * each > 0:
        found["kv_usage.mean"] = steps["held_tokens"] / (count * slots * each)
    return found


def _tokens(tokens: Mapping[str, int]) -> dict[str, Scalar]:
    """`prefix.hit_rate`: the share of prompt tokens that had been read before, `prefix.tokens_saved`: how many.

    `prompt_tokens_read`, `tokens_written`, and `preemptions`: how often an answer was put off for lack of memory.
    """
    found: dict[str, Scalar] = {}
    if asked := tokens.get("prefix_cache_queries", 0):
        saved = tokens.get("prefix_cache_hits", 0)
        found |= {"prefix.hit_rate": saved / asked, "prefix.tokens_saved": saved}
    names = {
        "prompt_tokens_read": "prompt_tokens",
        "tokens_written": "generation_tokens",
        "preemptions": "num_preemptions",
    }
    for name, told in names.items():
        if told in tokens:
            found[name] = tokens[told]
    return found


def _mean_ms(tally: Mapping[str, int]) -> float | None:
    count = tally.get("count", 0)
    return tally["total_us"] / count / 1e3 if count and "total_us" in tally else None


def _since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """A count that has fallen belongs to a service that was started anew in the meantime."""
    counts = {name: (before.get(name, 0), count) for name, count in sorted(after.items())}
    return {name: count - earlier if count >= earlier else count for name, (earlier, count) in counts.items()}


def _group(content: Any, name: str, kind: TypeAdapter[Value]) -> dict[str, Value]:
    group = content.get(name) if isinstance(content, Mapping) else None
    found = dict[str, Value]()
    for key, value in islice(group.items() if isinstance(group, Mapping) else (), MOST_FIELDS):
        try:
            found[NAMES.validate_python(key)] = kind.validate_python(value)
        except ValidationError:
            continue
    return found
