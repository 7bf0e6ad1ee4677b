"""How often one client may ask: a token bucket for each key, or for each address where no key is needed."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from mlsys.serving.request import Clock

MOST = (
    8192  # buckets; beyond, the one that was asked longest ago is forgotten, and is full when it comes back
)


class Rates:
    """`per_s` requests a second in the long run, `burst` at once."""

    def __init__(self, per_s: float, burst: int, clock: Clock = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def wait_s(self, client: str) -> int:
        """0, and one token is taken; or the whole seconds until there is one."""
        now = self._clock()
        tokens, at = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._per_s)
        taken = tokens >= 1
        self._buckets[client] = tokens - taken, now
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1 - tokens) / self._per_s))
