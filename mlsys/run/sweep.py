"""Hydra's callback: after each job the table and the page of its sweep are drawn again from the records."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mlsys import extras, progress, record
from mlsys.errors import cause
from mlsys.run import interleave, live

Runs = Sequence[tuple[Path, record.Record]]
failures: list[str] = []
_sweep_directory: list[Path] = []
_said: set[str] = set()


class Report(Callback):
    """Draws `table.md`, `table.csv` and `index.html`; says at the end what failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember where the sweep's records go, should it be interrupted."""
        _sweep_directory[:] = [Path(config.hydra.sweep.dir)]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Draw the sweep as far as it has come."""
        if config.hydra.mode.name == "MULTIRUN":
            directory = Path(config.hydra.sweep.dir)
            _tried("drawing", lambda: draw(directory, record.find([directory])))

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw the one run."""
        finish(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Measure what waits for its rounds, show the whole sweep and name what failed."""
        problem = _tried("measuring", interleave.run)
        finish(Path(config.hydra.sweep.dir))
        failures.extend(filter(None, [problem]))


def draw(directory: Path, runs: Runs) -> Path | None:
    """Draw into `directory` what its records say; the page's path, None where there is no record or no page."""
    from mlsys.report import page, table

    if not runs:
        return None
    table.write(directory, runs)
    return None if extras.absent("plotly") else page.write(directory, runs)


def finish(directory: Path) -> None:
    """Collect the runs that failed in `failures`; draw, print the table and the page's path on stdout.

    What failed is counted before anything is drawn, and a drawing that fails is one failure more.
    """
    runs = record.find([directory])
    if not runs:
        return
    elsewhere = [
        place.name for place, entry in runs if entry.error == record.UNFINISHED and live.claimed(place)
    ]
    failed = [
        f"{place.name}: {entry.error}"
        for place, entry in runs
        if entry.status != "ok" and place.name not in elsewhere
    ]
    failures[:] = failed
    if len(runs) == 1 and failed and not runs[0][1].results:
        failures.extend(filter(None, [_tried("drawing", lambda: draw(directory, runs))]))
        return  # the one line that said why is all there is
    failures.extend(filter(None, [_tried("drawing", lambda: _show(directory, runs))]))
    if elsewhere:
        progress.say(f"another process is measuring {', '.join(elsewhere)} just now: not all is drawn yet")
    if failed and len(runs) > 1:
        progress.say(f"{len(failed)} of {len(runs)} failed:")
        for line in failed:
            progress.say(f"  {line}")


def interrupted() -> None:
    """After Ctrl-C: draw what was measured and say where it lies."""
    progress.say("stopped")
    for directory in _sweep_directory:
        finish(directory)
        progress.say(f"to go on from here: {_again(directory)}")


def _again(directory: Path) -> str:
    """The command as it was typed, with the sweep's directory, to be pasted into a shell."""
    words = [word for word in sys.orig_argv if not word.lstrip("+").startswith("hydra.sweep.dir=")]
    place = str(directory.absolute())
    if not re.fullmatch(r"[\w./+-]+", place):  # else Hydra wants it quoted
        place = (
            "'"
            + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), place)
            + "'"
        )
    return shlex.join([*words, f"hydra.sweep.dir={place}"])


def _show(directory: Path, runs: Runs) -> None:
    from mlsys.report import table

    print(table.console(runs))
    drawn = draw(directory, runs)
    print(f"page: {drawn}" if drawn else f"no page: {extras.absent('plotly')}")


def _tried(what: str, action: Callable[[], object]) -> str | None:
    """Call `action`; where it fails say so in one line and return it. Hydra would only warn of it, and exit with 0."""
    try:
        action()
    except Exception as error:
        problem = f"{what} failed: {cause(error)}"
        if problem not in _said:
            _said.add(problem)
            progress.say(problem)
        return problem
    return None
