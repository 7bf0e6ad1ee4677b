"""What a service's models decoded, while requests were there, and what its threads lost to others on the machine."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.roofline import counts
from mlsys.roofline.counts import PRESENT, WAITED
from mlsys.roofline.delays import waited_us
from mlsys.serving.meters import Meters
from mlsys.serving.request import Clock, Request
from mlsys.serving.worker import FINAL


class Decoders:
    """`workers` models; `threads` are those in which they run, as the system numbers them."""

    def __init__(self, meters: Meters, workers: int, clock: Clock) -> None:
        self._meters, self._workers, self._clock = meters, workers, clock
        self.threads: list[int] = []
        self._present, self._came_at, self._present_s = 0, 0.0, 0.0

    def come(self) -> None:
        """A request is there."""
        self._present += 1
        if self._present == 1:
            self._came_at = self._clock()

    def go(self) -> None:
        """It is gone."""
        self._present -= 1
        if not self._present:
            self._present_s += self._clock() - self._came_at

    def answered(self, batch: Sequence[Request]) -> None:
        """Count what was decoded for those of a batch in step that have their answers."""
        done = [one for one in batch if FINAL in one.parts_s and one.item.tokens and one.item.prompt_tokens]
        if done:
            prompts, answers = zip(*((one.item.prompt_tokens, one.item.tokens) for one in done), strict=True)
            found = counts.of_batch(prompts, answers, done[0].parts_s[FINAL])
            self._meters.decoding(len(done), found)

    def counts(self) -> dict[str, int]:
        """By their names in /stats: all of this, in microseconds where it is a time."""
        present_s = self._present_s + (self._clock() - self._came_at if self._present else 0.0)
        return {
            **self._meters.decoded,
            PRESENT: round(1e6 * present_s * self._workers),
            WAITED: sum(map(waited_us, self.threads)),
        }
