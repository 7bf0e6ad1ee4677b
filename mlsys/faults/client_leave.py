"""`fault=client_leave`: a share of the clients close their connection before the answer has come."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mlsys.faults import SERVICE, Fault, Scene, at_least, between


class ClientLeave(Fault):
    """`share` of the requests sent in the span are given up after `after_ms`, drawn by `seed`."""

    process = False
    noticeable = False
    did = "a share of the clients left"

    def __init__(
        self, name: str, at_s: float, for_s: float, seed: int, share: float, after_ms: float
    ) -> None:
        super().__init__(name, at_s, SERVICE, seed, for_s)
        between(name, "share", share, 0, 1)
        at_least(name, "after_ms", after_ms, 0)
        self.share, self.after_ms = share, after_ms

    def leavers(self) -> dict[str, float]:
        """The load generator's clients do it (`mlsys.loadtest.leaving`)."""
        return {
            "from_s": self.at_s,
            "to_s": self.at_s + self.for_s,
            "share": self.share,
            "after_s": self.after_ms / 1e3,
            "seed": self.seed,
        }

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """They leave by themselves: wait until it is over."""
        over.wait(self.for_s)
