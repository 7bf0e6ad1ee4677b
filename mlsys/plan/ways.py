"""What a plan may be: modes, batch sizes and policies that the records know something of, each with one replica."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlsys.plan.candidate import Candidate
from mlsys.plan.known import Known
from mlsys.plan.objective import Objective

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
BEYOND = 2  # times the largest batch seen: beyond that nothing is proposed
BY_LIMIT, IN_TURN = "batch, by the limit", "batch, in turn"
KINDS = ("queue", "batch", "baseline", "continuous", BY_LIMIT, IN_TURN)  # the plainest first


def ways(records: Sequence[Known], objective: Objective) -> Iterator[tuple[Known, Candidate]]:
    """Every way to serve, and the record that it is simulated by."""
    batch = best_of(records, "batch")
    sizes = [size for size in SIZES if size <= max(BEYOND * batch.largest, SIZES[0])]
    several = (("balancer", "least_in_flight"),)
    for size in sizes:
        yield (
            batch,
            Candidate("batch", "batch", 1, (("batching", "hybrid"), ("batching.max_size", size), *several)),
        )
    largest = ("batching.max_size", sizes[-1])
    door = (("batching", "slo"), largest, ("batching.limit_ms", objective.limit_ms), *several)
    yield batch, Candidate(BY_LIMIT, "batch", 1, door)
    yield batch, Candidate(IN_TURN, "batch", 2, (("batching", "time"), largest, ("balancer", "staggered")))
    for mode in ("queue", "baseline"):
        yield best_of(records, mode), Candidate(mode, mode, 1, several)
    if any(known.mode == "continuous" for known in records):
        yield best_of(records, "continuous"), Candidate("continuous", "continuous", 1, several)


def best_of(records: Sequence[Known], mode: str) -> Known:
    """The record that knows most of a mode: one of its own, the one with the largest batches."""
    return max(records, key=lambda known: (known.mode == mode, known.largest))
