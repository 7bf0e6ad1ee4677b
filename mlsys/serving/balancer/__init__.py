"""Which replica gets a request: policies that see only names and in-flight counts.

A slow replica costs what the policy lets it. In turn it gets as many requests as the others, and clients that wait for
their answers gather in its queue until the others idle. By requests in flight it holds its share of them and is then
passed over. `experiments/balancing_policies` has figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A replica that could take the request."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def in_flight(self) -> int: ...  # noqa: D102


C = TypeVar("C", bound=Candidate)


class Policy(Protocol):
    """A balancing policy."""

    name: str

    def choose(self, candidates: Sequence[C]) -> C:
        """One of `candidates`, which is never empty."""
