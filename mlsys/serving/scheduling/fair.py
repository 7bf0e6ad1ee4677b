"""`scheduling=fair`: the client that was served least goes first, counted in tokens.

The virtual token counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024): a client's counter
grows by `read_weight` for each token of its prompts when they enter and by `write_weight` for each token written for
it. A client that comes back after a pause starts no lower than the least of those who wait: being idle earns no credit.
A prompt is counted once, however often it is put off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Unpack

from mlsys.serving.options import at_least
from mlsys.serving.scheduling import Candidate, Key, Policy, Steps

MOST_CLIENTS = 10_000


class Fair(Policy):
    """By the client's counter, then by arrival. Requests without a client key are one client's together."""

    def __init__(self, name: str, read_weight: float, write_weight: float, **steps: Unpack[Steps]) -> None:
        at_least("scheduling.read_weight", read_weight, 0)
        at_least("scheduling.write_weight", write_weight, 0)
        super().__init__(name, **steps)
        self._read, self._write = read_weight, write_weight
        self.served: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._last = ""  # the client whose request was the last to leave an empty line behind

    def key(self, waiting: Candidate) -> Key:
        """How much its client was served, then when it came."""
        return (self.served[waiting.client], waiting.arrived_at)

    def joined(self, waiting: Candidate) -> None:
        """A client that waits anew is lifted to the least of those who wait."""
        client = waiting.client
        if len(self.served) >= MOST_CLIENTS:
            self._forget()
        if not self._waiting[client]:
            floor = self.served.get(self._last, 0.0)
            least = min((self.served[one] for one, n in self._waiting.items() if n), default=floor)
            self.served[client] = max(self.served.get(client, 0.0), least)
        self._waiting[client] += 1

    def entered(self, waiting: Candidate) -> None:
        """Its prompt is counted, the first time."""
        self.left(waiting)
        if waiting.is_new:
            self.served[waiting.client] += self._read * waiting.to_read

    def left(self, waiting: Candidate) -> None:
        """It waits no longer."""
        client = waiting.client
        self._waiting[client] -= 1
        if not self._waiting[client]:
            del self._waiting[client]
        if not self._waiting:
            self._last = client

    def wrote(self, sequences: Sequence[Candidate]) -> None:
        """Each token is counted as it is written."""
        for sequence in sequences:
            self.served[sequence.client] = self.served.get(sequence.client, 0.0) + self._write

    def _forget(self) -> None:
        """Names are the clients' own to choose, so they are bounded: who was served least is lifted anyway."""
        idle = sorted(
            (client for client in self.served if client not in self._waiting), key=self.served.__getitem__
        )
        for client in idle[: MOST_CLIENTS // 2]:
            del self.served[client]
