"""`batching=slo`: the largest batch whose oldest request still makes its limit; what cannot make it is refused at once.

A worker that is behind answers everybody too late, and each answer that came too late took the place of one that
would have been in time. So whoever comes is planned first: the running batch, those in line in batches of
`max_size`, the newcomer in the last of them. If that makes its oldest request late, the newcomer is refused before it
costs anything, and the rest keep their limit whatever the load (Clockwork, Gujarati et al., OSDI 2020). None is put
into a batch behind one that is not full: it would begin late, be small for that, and small batches serve fewer (Nexus,
Shen et al., SOSP 2019, 6.2). What batches take is given, or learned from those of this service.

`fill` holds a batch open until the last moment at which its oldest request is in time: the largest batches, and every
answer close to the limit (Symphony, arXiv 2308.07470). Without it a free worker goes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.errors import UserError
from mlsys.serving.batching import Close, Wait, within_budget
from mlsys.serving.batching.learned_cost import LearnedCost
from mlsys.serving.options import above, at_least


class Slo:
    """`limit_ms`: from a request's arrival to its answer. `margin_ms`: so much sooner is planned.

    The margin is for what is not the batch, and for batches that take longer than planned: those planned into one still
    go together then.

    A batch of b takes `per_request_ms`·b + `base_ms`; where both are None that is learned.
    """

    def __init__(
        self,
        name: str,
        max_size: int,
        limit_ms: float,
        margin_ms: float,
        fill: bool,
        per_request_ms: float | None,
        base_ms: float | None,
        max_padded_tokens: int | None,
    ) -> None:
        at_least("batching.max_size", max_size, 1)
        at_least("batching.margin_ms", margin_ms, 0)
        above("batching.limit_ms", limit_ms, margin_ms)
        above("batching.max_padded_tokens", max_padded_tokens, 0)
        for knob, value in (("per_request_ms", per_request_ms), ("base_ms", base_ms)):
            at_least(f"batching.{knob}", value, 0)
        if (per_request_ms is None) != (base_ms is None):
            raise UserError(
                "batching.per_request_ms and batching.base_ms: both are given, or both are learned"
            )
        self.name, self.max_size, self.max_padded_tokens = name, max_size, max_padded_tokens
        self._limit_s, self._planned_s, self._fill = limit_ms / 1e3, (limit_ms - margin_ms) / 1e3, fill
        given = None if per_request_ms is None or base_ms is None else (per_request_ms / 1e3, base_ms / 1e3)
        self._cost = LearnedCost(given)
        self._running, self._began = 0, 0.0

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def answered(self, count: int, now: float) -> None:
        """The batch that ran has ended: learn what it took, unless nobody of it was served."""
        if count:
            self._cost.took(self._running, now - self._began)
        self._running = 0

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """As many as the oldest has time for. One that is late already waits for nobody: all go, and it is over."""
        last_moment = oldest + self._planned_s - self._cost(waiting + 1)
        if self._fill and waiting < self.max_size and now < last_moment:
            return Wait(last_moment)
        count = min(waiting, self._largest(oldest + self._limit_s - now) or self.max_size)
        self._running, self._began = count, now
        return Close(count, "full" if count == self.max_size else "deadline" if count < waiting else "idle")

    def refuses(self, waiting: Sequence[float], now: float) -> str | None:
        """Why one that comes now cannot be in time, behind those that came at `waiting`; None: it can.

        A worker that idles takes anybody: else a cost that was once learned too high would never be learned again.
        """
        if not (waiting or self._running):
            return None
        at = max(now, self._began + self._cost(self._running)) if self._running else now
        full, last = divmod(len(waiting), self.max_size)
        at += full * self._cost(self.max_size) + self._cost(last + 1)
        oldest = waiting[full * self.max_size] if last else now
        if at <= oldest + self._planned_s:
            return None
        late_ms = 1e3 * (at - oldest)
        return (
            f"{len(waiting)} wait: its batch would take {late_ms:.0f} ms, more than batching.limit_ms allows"
        )

    def cut(self, tokens: Sequence[int]) -> int:
        """How many prompts fit a batch's size and padded tokens."""
        self._running = within_budget(tokens[: self.max_size], self.max_padded_tokens)
        return self._running

    def _largest(self, left_s: float) -> int:
        """The largest batch that takes no longer than `left_s`; 0: none does."""
        if self._cost(1) > left_s:
            return 0
        low, high = 1, self.max_size
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._cost(middle) <= left_s else (low, middle - 1)
        return low
