"""One replica as the balancer sees it, and the set of them: address, health and counts, kept in one place."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mlsys.serving.balancer import Affine, Policy, Timing
from mlsys.serving.balancer.health import Health
from mlsys.serving.balancer.options import Balancing
from mlsys.serving.balancer.progress import Pace, Progress
from mlsys.serving.balancer.silence import Silence
from mlsys.serving.balancer.standing import Counts, Standing
from mlsys.serving.request import Clock, Request, Unavailable

SOON_S = 0.02  # between two looks at one that is late


def _nobody(call: asyncio.Task[Any]) -> None:
    """Nobody is told."""


class Backend:
    """`attempts` are the calls in flight; they end at once when the replica is lost."""

    def __init__(self, name: str, url: str | None, options: Balancing, clock: Clock = time.monotonic) -> None:
        self.name, self.url, self._clock = name, url, clock
        self.health = Health(
            options.rise,
            options.fall,
            options.eject_after,
            options.eject_s,
            options.eject_max_s,
            url is not None,
        )
        self.silence = Silence(options.silent_s, clock)
        self.progress = Progress(clock)
        self.restarts = 0
        self.gpu: str | None = None  # the one it has of several
        self.codes: Counter[str] = Counter()
        self.attempts: dict[asyncio.Task[Any], None] = {}  # in the order in which they began
        self._counts, self._place = np.zeros(1, np.int64), 0
        self._proved_at = float("-inf")

    @property
    def in_flight(self) -> int:
        """How many calls have not ended."""
        return len(self.attempts)

    def take(self, call: asyncio.Task[Any], tell: Callable[[asyncio.Task[Any]], None] = _nobody) -> None:
        """Count a call in flight until it is done, however it ends; then `tell` who asked."""
        if not self.attempts:
            self.progress.begun()
        self.attempts[call] = None
        self._counts[self._place] += 1
        call.add_done_callback(partial(self._ended, tell))

    def _ended(self, tell: Callable[[asyncio.Task[Any]], None], call: asyncio.Task[Any]) -> None:
        self.attempts.pop(call, None)
        self._counts[self._place] -= 1
        tell(call)

    def join(self, counts: Counts, place: int, changed: Callable[[], None]) -> None:
        """Keep its count in `counts` from now on, and call `changed` when it may be another whether it is trusted."""
        counts[place] = self.in_flight
        self._counts, self._place = counts, place
        self.health.changed = self.silence.changed = self.progress.changed = changed

    def announce(self, url: str) -> None:
        """It answers at `url` now."""
        self.url = url
        self.health.set(up=True)
        self.heard()
        self.proved()

    def lose(self) -> None:
        """It is gone: take it out and end the calls that wait for it, so that they can go elsewhere."""
        self.health.set(up=False)
        for attempt in list(self.attempts):
            attempt.cancel()

    def checked(self, good: bool) -> None:
        """One active check."""
        if self.health.checked(good) and not self.health.up:
            self.lose()

    def answered(self, status: int | None) -> None:
        """A call ended with `status`, or None where the connection failed."""
        self.codes[str(status or "failed")] += 1
        if status is not None:
            self.heard()
        self.health.answered(status, self._clock())
        if status == 200:
            self.proved()

    def heard(self) -> None:
        """An answer, or the next piece of one."""
        self.silence.heard()
        self.progress.heard()

    @property
    def quiet(self) -> bool:
        """Whether what waits on it should be asked elsewhere too."""
        return self.silence.silent() or self.progress.doubted

    def proved(self) -> None:
        """It has just answered a real question."""
        self._proved_at = self._clock()

    def idle_s(self) -> float:
        """Seconds since it last answered a real question."""
        return self._clock() - self._proved_at

    def stats(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "url": self.url,
            "up": self.health.up,
            "ejected": self.health.ejected(self._clock()),
            "silent": self.silence.silent(),
            "doubted": self.progress.doubted,
            "in_flight": self.in_flight,
            "requests": sum(self.codes.values()),
            "responses": dict(sorted(self.codes.items())),
            "restarts": self.restarts,
            **({"gpu": self.gpu} if self.gpu else {}),
            "ejections": self.health.ejections,
        }


class Backends:
    """All of them, and the policy that chooses. `hang_factor`: see `Pace`."""

    def __init__(
        self,
        backends: list[Backend],
        policy: Policy,
        clock: Clock = time.monotonic,
        hang_factor: float = 0.0,
    ) -> None:
        self.all, self.policy, self._clock = backends, policy, clock
        self.pace, self._doubt_at = Pace(hang_factor), float("-inf")
        self._affine = policy if isinstance(policy, Affine) else None
        self._timing = policy if isinstance(policy, Timing) else None
        self._counts = np.zeros(len(backends), np.int64)
        self._places = {backend: place for place, backend in enumerate(backends)}
        self._available, self._until = Standing.of(list[Backend](), self._counts, [0]), float("-inf")
        for place, backend in enumerate(backends):
            backend.join(self._counts, place, self._changed)

    def _changed(self) -> None:
        self._until = float("-inf")

    def available(self) -> Standing[Backend]:
        """Those to be trusted; if ejection or silence leaves none, all that are up: trying beats refusing
        everybody. Looked for anew where one of them has changed, or time changes one.
        """
        now = self._clock()
        if now >= self._until:
            up = [backend for backend in self.all if backend.health.up]
            trusted = [backend for backend in up if not backend.health.ejected(now)] or up
            heard = [backend for backend in trusted if not backend.quiet] or trusted
            if self._available != heard:
                self._available = Standing.of(heard, self._counts, [self._places[one] for one in heard])
            later = [backend.health.ejected_until for backend in up]
            later += [at for backend in up if (at := backend.silence.silent_from) is not None]
            self._until = min((at for at in later if at > now), default=float("inf"))
        return self._available

    def doubt(self) -> None:
        """Look who is late: not where all are."""
        now = self._clock()
        if (limit_s := self.pace.limit_s) is None or now < self._doubt_at:
            return
        self._doubt_at = now + SOON_S
        up = [backend for backend in self.all if backend.health.up]
        late = [backend for backend in up if backend.in_flight and backend.progress.waited_s() > limit_s]
        for backend in late if len(late) < len(up) else ():
            backend.progress.doubted = True

    def patience_s(self, asked: Iterable[Backend]) -> float | None:
        """How long it takes until one of those asked may be late; None: nobody ever is."""
        if (limit_s := self.pace.limit_s) is None:
            return None
        return max(SOON_S, limit_s - max((one.progress.waited_s() for one in asked), default=0.0))

    def choose(self, tried: list[Backend], request: Request) -> Backend | None:
        """The policy's choice among those not yet tried; None if all of them were. Raises Unavailable if
        none is up.
        """
        available = self.available()
        if not available:
            raise Unavailable(f"none of {len(self.all)} replicas is up", 1)
        fresh = [backend for backend in available if backend not in tried] if tried else available
        if not fresh:
            return None
        return self.policy.choose(fresh) if self._affine is None else self._affine.choose_for(fresh, request)

    def answered(self, backend: Backend, seconds: float) -> None:
        """It has answered a request after so long."""
        self.pace.answered(seconds)
        if self._timing is not None:
            self._timing.answered(backend.name, seconds)

    def learn(self, request: Request, passages: Sequence[int]) -> None:
        """What the request's answer says of its prompt, for a policy that looks at it."""
        if self._affine is not None:
            self._affine.learn(request, passages)
