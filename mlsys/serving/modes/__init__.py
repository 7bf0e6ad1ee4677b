"""What the HTTP side needs of a mode: start, answer, tell how it is, stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mlsys.serving.balancer import Policy as BalancingPolicy
from mlsys.serving.batching import Policy as BatchingPolicy
from mlsys.serving.meters import Meters
from mlsys.serving.realtime import REAL, Time
from mlsys.serving.request import Request
from mlsys.serving.scheduling import Policy as SchedulingPolicy
from mlsys.serving.worker import Pipeline

if TYPE_CHECKING:
    from mlsys.serving.balancer.hosts import Hosts

RAG = "rag"
PASSAGES = "x-passages"  # ids of the passages in the prompt, by which a balancer learns who has read them


@dataclass(frozen=True)
class Names:
    """What a service's models are called: those that write text, the RAG first, and those that make vectors."""

    texts: list[str]
    embeddings: list[str] | None  # None: whoever is asked knows


@dataclass(frozen=True)
class Answer:
    """A finished HTTP answer: its text (JSON, but for what a stranger's replica sends), status and replica.

    Empty where it was told to the request's stream. `passages`: ids of those in the prompt.
    """

    body: bytes
    status: int = 200
    replica: str | None = None
    retry_after: str | None = None
    content_type: str = "application/json"
    passages: Sequence[int] = ()

    def content(self) -> dict[str, Any] | None:
        """The body's JSON object; None where it holds none, or what cannot be written as JSON again."""
        try:
            content = json.loads(self.body)
            json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None


class Service(Protocol):
    """One mode at work. All methods run in the event loop."""

    meters: Meters

    async def start(self) -> None:
        """Load, warm and probe. Raises UserError for what the user can mend."""

    def state(self) -> str:
        """`ready`, or why not: `loading`, `draining`, `stalled`, `down`."""

    def check(self, client: str = "") -> None:
        """Raise Refused (429) or Unavailable (503) if a request of `client` could not enter now."""

    async def answer(self, request: Request) -> Answer:
        """Take one request to its end. Raises ServiceError. Cancelling it frees the request's place."""

    async def names(self) -> Names:
        """What can be asked. Raises Unavailable while that is not known."""

    async def stats(self) -> dict[str, Any]:
        """Counters for `/stats`, JSON-ready."""

    def drain(self) -> None:
        """Take nothing new from now on."""

    async def close(self, drained: bool) -> None:
        """Stop everything. `drained`: nothing is running any more."""


@runtime_checkable
class Apart(Protocol):
    """A service whose engine is in another process."""

    async def exposition(self) -> bytes:
        """The meters of both, in Prometheus's text format."""

    async def died(self) -> Exception:
        """Returns once the other process is gone: why."""

    async def close(self, drained: bool) -> None:
        """As `Service`."""


@dataclass(frozen=True)
class Parts:
    """What a mode is built from; it takes what it needs. `directory` is for logs of processes it starts.

    `hosts`: where replicas run and how they are asked; None: in processes of this machine, over HTTP.
    """

    pipeline: Callable[[], Pipeline]
    batching: Callable[[], BatchingPolicy]
    scheduling: Callable[[], SchedulingPolicy]
    balancer: Callable[[], BalancingPolicy]
    config: dict[str, Any]
    directory: Path
    time: Time = REAL
    hosts: Hosts | None = None
