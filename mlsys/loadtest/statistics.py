"""What the rows of a load level say, as flat names and numbers. Pure: rows in, numbers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np

from mlsys.loadtest.certify.level import certified
from mlsys.loadtest.distributions import distribution
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row
from mlsys.loadtest.sessions import turns
from mlsys.loadtest.timeline import timeline
from mlsys.loadtest.token_statistics import histogram, streams
from mlsys.loadtest.window import Window, mean_in_flight, window
from mlsys.record import Scalar
from mlsys.stages import STAGES

MOST_REPLICAS = 64
READ = {stage: attrgetter(f"{stage}_ms") for stage in STAGES}  # of a row
READ_ALL = attrgetter(*(f"{stage}_ms" for stage in STAGES))


def counts(measured: Sequence[Row]) -> dict[str, Scalar]:
    """`requests`, `succeeded`, `failed`, `rejected`, `timed_out`, `success_rate`, `resent`, and what refusals said.

    `errors.<kind>`: how many of the others were of that kind (`Row.error_kind`).
    """
    outcomes = Counter(row.outcome for row in measured)
    waits = [
        row.retry_after_s for row in measured if row.outcome == REJECTED and row.retry_after_s is not None
    ]
    errors = Counter(row.error for row in measured if row.outcome in (FAILED, TIMED_OUT))
    kinds = Counter(kind for row in measured if (kind := row.error_kind) is not None)
    return {
        "requests": len(measured),
        "succeeded": outcomes[OK],
        "failed": outcomes[FAILED],
        "rejected": outcomes[REJECTED],
        "timed_out": outcomes[TIMED_OUT],
        "success_rate": outcomes[OK] / len(measured),
        "resent": sum(row.resent for row in measured),
        "rejected_with_retry_after": len(waits),
        "retry_after_s.mean": float(np.mean(waits)) if waits else None,
        "most_frequent_error": errors.most_common(1)[0][0] if errors else None,
        **{f"errors.{kind}": count for kind, count in sorted(kinds.items())},
    }


def batches(good: Sequence[Row]) -> dict[str, Scalar]:
    """`batch_size.{mean,max}` over batches, not requests, and `batch_size.hist.<n>`: how many had n.

    An answer tells the size of the batch it came from; n answers from batches of n are one batch.
    """
    sizes = Counter(row.batch_size for row in good if row.batch_size)
    if not sizes:
        return {"batch_size.mean": None, "batch_size.max": None}
    answers = {int(size or 1): count for size, count in sizes.items()}
    number = sum(count / size for size, count in answers.items())
    return {
        "batch_size.mean": sum(answers.values()) / number,
        "batch_size.max": max(answers),
        **{f"batch_size.hist.{size}": round(answers[size] / size, 2) for size in sorted(answers)},
    }


def stages(good: Sequence[Row]) -> dict[str, Scalar]:
    """`stage_ms.<stage>.*`, and `outside_ms.mean`: latency that no stage accounts for (network, client)."""
    values: dict[str, Scalar] = {}
    for stage, read in READ.items():
        times = [time for time in map(read, good) if time is not None]
        if times:
            values |= distribution(f"stage_ms.{stage}", times)
    outside = [row.e2e_ms - inside for row in good if (inside := _inside_ms(row)) is not None]
    return values | ({"outside_ms.mean": float(np.mean(outside))} if outside else {})


def _inside_ms(row: Row) -> float | None:
    times = [time for time in READ_ALL(row) if time is not None]
    return sum(times) if times else None


def goodput(measured: Sequence[Row], throughput_rps: float, limits: Mapping[str, float]) -> dict[str, Scalar]:
    """`goodput`: the share of requests answered within all `limits` (ms, by `e2e_ms`, `ttft_ms`, `tpot_ms`).

    `goodput_rps`: how many a second. `goodput.<name>`: the share within that limit. An answer that came at once has no
    `tpot_ms` and is within its limit. What was not answered is within none.
    """
    if not limits:
        return {}
    good = [row for row in measured if row.outcome == OK]
    within = {name: [_within(row, name, limit) for row in good] for name, limit in limits.items()}
    meeting = sum(map(all, zip(*within.values(), strict=True)))
    return {
        **({"slo_ms": limits["e2e_ms"]} if "e2e_ms" in limits else {}),
        **{f"slo.{name}": limit for name, limit in limits.items()},
        "goodput": meeting / len(measured),
        "goodput_rps": throughput_rps * meeting / len(good) if good else 0.0,
        **{f"goodput.{name}": sum(met) / len(measured) for name, met in within.items()},
    }


def meets(row: Row, limits: Mapping[str, float]) -> bool:
    """Whether a request was answered within all limits."""
    return row.outcome == OK and all(_within(row, name, limit) for name, limit in limits.items())


def _within(row: Row, name: str, limit: float) -> bool:
    value = getattr(row, name)
    return bool(value <= limit) if value is not None else name == "tpot_ms"


def quality(good: Sequence[Row]) -> dict[str, Scalar]:
    """`retrieval_hit_rate`: answers whose passages held the known one; None where none is known."""
    known = [row.hit for row in good if row.hit is not None]
    return {"retrieval_hit_rate": sum(known) / len(known) if known else None}


def told(measured: Sequence[Row]) -> dict[str, Scalar]:
    """What only some services tell, or only some questions ask.

    `output_tokens.estimated`: the share of answers whose tokens are pieces of a stream, where there are any.
    `prompt_tokens.mean`, and `expect.met_rate`: of the answers that something was expected of, how many had it.
    """
    good = [row for row in measured if row.outcome == OK]
    met = [row.met for row in measured if row.met is not None]
    read = [row.prompt_tokens for row in good if row.prompt_tokens is not None]
    guessed = sum(row.tokens_estimated for row in good)
    return {
        **({"output_tokens.estimated": guessed / len(good)} if guessed else {}),
        **({"prompt_tokens.mean": float(np.mean(read))} if read else {}),
        **({"expect.met_rate": sum(met) / len(met)} if met else {}),
    }


def replicas(good: Sequence[Row]) -> dict[str, Scalar]:
    """`replica.<name>.{requests,e2e_ms.p25,e2e_ms.p50}` where answers tell more than one replica.

    Of many names those with the most answers: a service that tells a new one with each answer fills no record.
    """
    times: dict[str, list[float]] = {}
    for row in good:
        if row.replica:
            times.setdefault(row.replica, []).append(row.e2e_ms)
    busiest = sorted(times, key=lambda name: (-len(times[name]), name))[:MOST_REPLICAS]
    values: dict[str, Scalar] = {}
    for name in sorted(busiest) if len(times) > 1 else []:
        p25, p50 = (float(value) for value in np.percentile(times[name], [25, 50]))
        of = f"replica.{name}"
        values |= {f"{of}.requests": len(times[name]), f"{of}.e2e_ms.p25": p25, f"{of}.e2e_ms.p50": p50}
    return values


def summarise(
    repeats: Sequence[Sequence[Row]], limits: Mapping[str, float]
) -> tuple[dict[str, Scalar], Mapping[str, list[float]]]:
    """A level's names and numbers from the rows of its repeats, and the figures of each repeat.

    Distributions are over all repeats' measured requests, `throughput_rps` is the median of the repeats.
    """
    measured = [row for rows in repeats for row in rows if row.phase == MEASURED]
    good = [row for row in measured if row.outcome == OK]
    windows = [window(rows) for rows in repeats]
    samples = _samples(repeats, windows)
    rate = float(np.median(samples["throughput_rps"]))
    tokens = [row.tokens for row in good if row.tokens is not None]
    e2e_ms = [row.e2e_ms for row in good]
    flights = [mean_in_flight(rows, w.start_s, w.end_s) for rows, w in zip(repeats, windows, strict=True)]
    return {
        **counts(measured),
        "repeats": len(repeats),
        "duration_s": sum(w.end_s - w.start_s for w in windows),
        "throughput_rps": rate,
        "throughput_rps.spread": _spread(samples["throughput_rps"]),
        "output_tokens_per_s": rate * float(np.mean(tokens)) if tokens else None,
        "output_tokens.mean": float(np.mean(tokens)) if tokens else None,
        "output_tokens.max": max(tokens, default=None),
        **told(measured),
        **distribution("e2e_ms", e2e_ms),
        **distribution("dispatch_delay_ms", [row.dispatch_delay_ms for row in measured]),
        "in_flight.mean": float(np.mean(flights)),
        **stages(good),
        **batches(good),
        **histogram("e2e_ms", e2e_ms),
        **streams(good),
        **goodput(measured, rate, limits),
        **quality(good),
        **certified(repeats, windows, (lambda row: meets(row, limits)) if limits else None),
        **turns(good),
        **replicas(good),
    }, samples


def _samples(repeats: Sequence[Sequence[Row]], windows: Sequence[Window]) -> dict[str, list[float]]:
    samples = {"throughput_rps": [w.rate_rps for w in windows]}
    good = [[row for row in rows if row.phase == MEASURED and row.outcome == OK] for rows in repeats]
    for name in ("e2e_ms", "ttft_ms", "tpot_ms"):
        each = [[value for row in rows if (value := getattr(row, name)) is not None] for rows in good]
        if all(each):
            samples[f"{name}.mean"] = [float(np.mean(times)) for times in each]
            samples[f"{name}.p50"] = [float(np.percentile(times, 50)) for times in each]
            samples[f"{name}.p95"] = [float(np.percentile(times, 95)) for times in each]
    return samples | timeline(repeats)


def _spread(values: Sequence[float]) -> float | None:
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle if len(values) > 1 and middle > 0 else None
