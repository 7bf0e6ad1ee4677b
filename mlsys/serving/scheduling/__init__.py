"""Whose turn it is: which waiting prompt is read next, and who gives way to it. No clock, thread or token here.

The planner (`mlsys.serving.continuous.planner`) asks the policy whenever there is room in a step. Running sequences
write in every step whatever the policy is: a policy decides about entering and, if it likes, about being put off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict, Unpack

from mlsys.errors import UserError
from mlsys.quantities import parse_bytes
from mlsys.serving.options import at_least

Key = tuple[float, ...]


class Candidate(Protocol):
    """What a policy sees of a sequence. Times are seconds on the service's clock.

    `to_read`: tokens that reading it takes (the prompt, and what it had written before it was put off); `fewest`:
    tokens that it will still write at least; `is_new`: it was never put off.
    """

    @property
    def arrived_at(self) -> float: ...  # noqa: D102
    @property
    def deadline(self) -> float | None: ...  # noqa: D102
    @property
    def client(self) -> str: ...  # noqa: D102
    @property
    def priority(self) -> int: ...  # noqa: D102
    @property
    def to_read(self) -> int: ...  # noqa: D102
    @property
    def fewest(self) -> int: ...  # noqa: D102
    @property
    def is_new(self) -> bool: ...  # noqa: D102


class Steps(TypedDict):
    """The knobs of every policy; `conf/scheduling/_steps.yaml` explains them."""

    max_step_tokens: int
    slots: int | None
    kv_memory: str | None
    prefix_cache: bool
    prefix_share: float


class Policy:
    """Orders those who wait, by arrival where a policy says nothing else. The least key is next."""

    def __init__(self, name: str, **steps: Unpack[Steps]) -> None:
        at_least("scheduling.max_step_tokens", steps["max_step_tokens"], 1)
        at_least("scheduling.slots", steps["slots"], 1)
        if not 0 < steps["prefix_share"] < 1:
            raise UserError(
                f"scheduling.prefix_share={steps['prefix_share']:g} must be more than 0 and less than 1"
            )
        self.name = name
        self.max_step_tokens, self.slots = steps["max_step_tokens"], steps["slots"]
        memory = steps["kv_memory"]
        self.kv_memory = None if memory is None else parse_bytes("scheduling.kv_memory", memory)
        self.prefix_share = steps["prefix_share"] if steps["prefix_cache"] else 0.0

    def key(self, waiting: Candidate) -> Key:
        """The place in line."""
        return (waiting.arrived_at,)

    def is_hopeless(self, waiting: Candidate, now: float) -> bool:
        """Whether it is to be refused now, since its deadline cannot be met."""
        return False

    def gives_way(self, running: Candidate, waiting: Candidate) -> bool:
        """Whether `running` is put off, all slots being taken, so that `waiting` can enter."""
        return False

    def joined(self, waiting: Candidate) -> None:
        """It waits from now on: it has come, or was put off."""

    def entered(self, waiting: Candidate) -> None:
        """It has a slot: `to_read` tokens will be read for it."""

    def left(self, waiting: Candidate) -> None:
        """It waits no longer, and did not enter."""

    def wrote(self, sequences: Sequence[Candidate]) -> None:
        """Each of these has one more token."""

    def stepped(self, seconds: float) -> None:
        """A step took so long."""
