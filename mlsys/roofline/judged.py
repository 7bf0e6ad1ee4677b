"""MBU, MFU and what bounds the steps of a load level, from what was counted and what the machine can.

The rule, first that holds:

    host      less than 0.7 of the time that requests were there had a step under way, or the engine's thread waited for
              a processor for more than 0.2 of its steps' time, or half of that time was of steps that came when a GPU
              had nothing left to do, or the event loop that has the clients' connections (a balancer's, say) was at
              work for more than 0.9 of the time: the program around the steps is the limit
    memory    MBU is 0.4 or more, and not less than MFU
    compute   MFU is 0.4 or more
    launch    none of these: most of a step is neither bytes nor arithmetic, but launches and small kernels; on a CPU,
              where steps are computed as they are launched, also waiting for Python's lock

0.4 because well-made decoders reach 0.5 to 0.8 of a card's bandwidth where that bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlsys.record import Scalar
from mlsys.roofline.counts import LATE, NAMES, PRESENT, WAITED, Counts
from mlsys.roofline.work import Work

BUSY, DELAYED, LATENESS, FRONT, BOUND = 0.7, 0.2, 0.5, 0.9, 0.4


@dataclass(frozen=True)
class Used:
    """Shares of the peaks; None where a peak is not known."""

    mbu: float | None
    mfu: float | None


def used(work: Work, counts: Counts, bandwidth_gbps: float | None, tflops: float | None) -> Used:
    """What so many steps made of the peaks."""
    seconds = counts.us / 1e6
    moved = work.bytes(counts.steps, counts.read, counts.written, counts.held)
    done = work.operations(counts.read, counts.written, counts.seen)
    return Used(
        None if not bandwidth_gbps or not seconds else moved / seconds / (bandwidth_gbps * 1e9),
        None if not tflops or not seconds else done / seconds / (tflops * 1e12),
    )


def bound(share: Used, busy: float, delayed: float, late: float = 0.0, front: float = 0.0) -> str | None:
    """The word for what bounds the steps, by the rule above; None where the peaks are not known."""
    if delayed > DELAYED or busy < BUSY or late > LATENESS or front > FRONT:
        return "host"
    if share.mbu is None and share.mfu is None:
        return None
    mbu, mfu = share.mbu or 0.0, share.mfu or 0.0
    if max(mbu, mfu) < BOUND:
        return "launch" if share.mbu is not None and share.mfu is not None else None
    return "memory" if mbu >= mfu else "compute"


def level(
    decoded: Mapping[str, int], pipeline: Mapping[str, Scalar], front: float = 0.0
) -> dict[str, Scalar]:
    """`decode.mbu`, `decode.mfu`, `decode.bound`, the shares that tell of the host, and the first two by batch size.

    `decoded`: what a service counted meanwhile (`mlsys.roofline.counts`), `pipeline`: what it says of itself,
    `front`: the share of the time for which its event loop was at work.
    Nothing where its generator does not tell its work.
    """
    work, by_size = _work(pipeline), _by_size(decoded)
    if work is None or not by_size:
        return {}
    peaks = [_number(pipeline.get(f"generator.peak.{name}")) for name in ("bandwidth_gbps", "tflops")]
    total = Counts(*(sum(getattr(one, name) for one in by_size.values()) for name in NAMES))
    if not total.us:
        return {}
    share = used(work, total, *peaks)
    busy = min(1.0, total.us / max(1, decoded.get(PRESENT, total.us)))
    delayed, late = (decoded.get(name, 0) / total.us for name in (WAITED, LATE))
    found: dict[str, Scalar] = {
        "decode.mbu": share.mbu,
        "decode.mfu": share.mfu,
        "decode.bound": bound(share, busy, delayed, late, front),
        "decode.busy_share": busy,
        "decode.delayed_share": delayed,
        "decode.late_share": late,
    }
    for size, counts in sorted(by_size.items()):
        one = used(work, counts, *peaks)
        found |= {f"decode.batch_{size}.mbu": one.mbu, f"decode.batch_{size}.mfu": one.mfu}
        if counts.steps:
            found[f"decode.batch_{size}.step_ms"] = counts.us / 1e3 / counts.steps
    return found


def _work(pipeline: Mapping[str, Scalar]) -> Work | None:
    told = {name: pipeline.get(f"generator.work.{name}") for name in Work.__dataclass_fields__}
    numbers = {name: value for name, value in told.items() if isinstance(value, int)}
    return Work(**numbers) if len(numbers) == len(told) else None


def _by_size(decoded: Mapping[str, int]) -> dict[int, Counts]:
    sizes = {int(name.partition(".")[0]) for name in decoded if name.partition(".")[0].isdigit()}
    found = {size: Counts(*(decoded.get(f"{size}.{name}", 0) for name in NAMES)) for size in sorted(sizes)}
    return {size: counts for size, counts in found.items() if counts.us}


def _number(value: Scalar) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
