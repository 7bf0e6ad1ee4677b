"""One prompt and the answer that is being written to it, as the planner sees it."""

from __future__ import annotations

from collections.abc import Sequence as Ids
from typing import Any

from mlsys.rag.generator.stepping import GREEDY, Sampling
from mlsys.serving.continuous.blocks import Node


class Sequence:
    """Tokens of a prompt, and those written to it so far.

    `limit`: most tokens that it may write; `exact`: just so many, end tokens or not. `slot`: where its keys and values
    are, None while it waits. Once all planned steps are done, `held` of its `target` tokens are read (after that each
    step writes one), and it has written `planned`, of which `in_flight` are not there yet. `owner` is the caller's.
    """

    __slots__ = (
        "arrived_at", "client", "deadline", "ended", "exact", "held", "ids", "in_flight", "is_new", "limit", "node",
        "owner", "planned", "priority", "prompt_tokens", "sampling", "slot", "steps", "target", "together",
    )  # fmt: skip

    def __init__(
        self,
        prompt: Ids[int],
        limit: int,
        exact: bool = False,
        sampling: Sampling = GREEDY,
        arrived_at: float = 0.0,
        deadline: float | None = None,
        client: str = "",
        priority: int = 0,
        owner: Any = None,
    ) -> None:
        self.ids, self.prompt_tokens = list(prompt), len(prompt)
        self.limit, self.exact, self.sampling = limit, exact, sampling
        self.arrived_at, self.deadline, self.client, self.priority = arrived_at, deadline, client, priority
        self.owner = owner
        self.slot: int | None = None
        self.node: Node | None = None
        self.held = self.target = self.planned = self.in_flight = 0
        self.steps = self.together = 0
        self.ended, self.is_new = False, True

    @property
    def written(self) -> Ids[int]:
        """The answer's tokens that are there."""
        return self.ids[self.prompt_tokens :]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.ids) - self.prompt_tokens

    @property
    def to_read(self) -> int:
        """Tokens that reading it takes, without what the prefix cache has."""
        return len(self.ids)

    @property
    def fewest(self) -> int:
        """Tokens that it will still write at least."""
        return self.limit - self.count if self.exact else 1

    @property
    def is_writing(self) -> bool:
        """Whether all of it is read, so that each step writes a token."""
        return self.held >= self.target

    @property
    def mean_together(self) -> int:
        """How many sequences the steps had in the mean that wrote its tokens."""
        return round(self.together / self.steps) if self.steps else 0
