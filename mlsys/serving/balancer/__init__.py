"""Which replica gets a request: policies that see only names and in-flight counts.

A slow replica costs what the policy lets it. In turn it gets as many requests as the others, and clients that wait for
their answers gather in its queue until the others idle. By requests in flight it holds its share of them and is then
passed over. `experiments/balancing_policies` has figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from mlsys.serving.request import Request


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


@runtime_checkable
class Timing(Protocol):
    """A policy that learns how long replicas take."""

    def answered(self, name: str, seconds: float) -> None:
        """The replica `name` has answered a request after so long."""


@runtime_checkable
class Affine(Protocol):
    """A policy that also looks at the request, and learns from its answer."""

    def choose_for(self, candidates: Sequence[C], request: Request) -> C:
        """One of `candidates`, which is never empty, for this request."""

    def learn(self, request: Request, passages: Sequence[int]) -> None:
        """The request was answered with these passages (ids) in its prompt, in their order."""
