"""The levels of a run whose service is broken on purpose: each begins with a whole service, and says what it met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mlsys import progress
from mlsys.faults import figures
from mlsys.faults.conductor import Conductor
from mlsys.faults.residue import Held, held, settled
from mlsys.loadtest import gate
from mlsys.loadtest.rows import FILE_NAME
from mlsys.loadtest.service import Target
from mlsys.record import Samples, Scalar


class Disturbed:
    """`begin` as each level begins, `end` with its rows, `left` when the load generator is gone."""

    def __init__(self, conductor: Conductor, service: Target, directory: Path) -> None:
        self._conductor, self._service, self._directory = conductor, service, directory
        self._level = 0
        self._before: Held | None = None

    def check(self) -> None:
        """Raise ProcessEnded if the service has ended and no fault has ended it."""
        if not self._conductor.ended_it:
            self._service.check()

    def begin(self) -> None:
        """Open the level's gate; the faults' time begins. Raises ProcessEnded where the service is gone for good."""
        if self._level:
            self._service.check()
        else:  # what the first answer needed is there: pools, threads
            self._before = held(self._conductor.scene)
        self._conductor.begin()
        gate.open_for(self._directory, self._level)

    def end(self) -> tuple[dict[str, Scalar], Samples]:
        """The level's figures and its course, once the service is whole again."""
        with progress.step("waiting until the service is whole again"):
            course = self._conductor.finish()
        table = pd.read_parquet(self._directory / FILE_NAME)
        values, samples = figures.describe(table[table["level"] == self._level], course)
        self._level += 1
        if not course.happened and self._conductor.planned:
            progress.say("nothing was broken: the level was over before fault.at_s")
        for one in course.happened:
            if one.error:
                progress.say(f"{one.what}: {one.error}")
        return values, samples

    def left(self) -> dict[str, Any]:
        """What the service still holds of a load that is gone."""
        return dict(settled(self._conductor.scene, self._before))
