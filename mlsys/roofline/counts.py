"""What a service counts of its decoding, by batch size: the numbers from which utilisation is computed."""

from __future__ import annotations

import functools
from collections import Counter as Tally
from collections.abc import Sequence
from typing import NamedTuple

# Beside sizes, in microseconds: requests were there, a thread waited for a processor, steps that the device waited for.
PRESENT, WAITED, LATE = "present_us", "waited_us", "late_us"


class Counts(NamedTuple):
    """`steps` that took `us` microseconds in all, read so many tokens of prompts and wrote so many.

    `held`: tokens that each written one saw, summed. `seen`: the same of those that were read as well.
    """

    steps: int
    us: int
    read: int
    written: int
    held: int
    seen: int


NAMES = Counts._fields


def size_of(batch: int) -> int:
    """The power of two that a batch is counted under: 1, 2, 3 to 4, 5 to 8 and so on."""
    return 1 << max(0, batch - 1).bit_length()


@functools.cache
def _names(batch: int) -> list[str]:
    return [f"{size_of(batch)}.{name}" for name in NAMES]


def add(tally: Tally[str], batch: int, counts: Counts) -> None:
    """Count under the batch's size: `32.steps` and so on."""
    for name, count in zip(_names(batch), counts, strict=True):
        tally[name] += count


def of_batch(prompts: Sequence[int], answers: Sequence[int], seconds: float) -> Counts:
    """Of a batch in step: prompts and answers of so many tokens. The read gives each answer its first token."""
    held = sum([(a - 1) * p + a * (a - 1) // 2 for p, a in zip(prompts, answers, strict=True) if a])
    seen = sum([p * (p + 1) // 2 for p in prompts])
    return Counts(
        max(answers, default=0), round(1e6 * seconds), sum(prompts), sum(answers), held, held + seen
    )
