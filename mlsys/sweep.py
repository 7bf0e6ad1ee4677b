"""Hydra's callback: after each job the table and the page of its sweep are drawn again from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mlsys import interleave, progress, record

failures: list[str] = []
_sweep_directory: list[Path] = []


class Report(Callback):
    """Draws `table.md`, `table.csv` and `index.html`; says at the end what failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember where the sweep's records go, should it be interrupted."""
        _sweep_directory[:] = [Path(config.hydra.sweep.dir)]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Draw the sweep as far as it has come."""
        if config.hydra.mode.name == "MULTIRUN":
            draw(Path(config.hydra.sweep.dir))

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw the one run."""
        finish(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Measure what waits for its rounds, show the whole sweep and name what failed."""
        interleave.run()
        finish(Path(config.hydra.sweep.dir))


def draw(directory: Path) -> Path | None:
    """Draw what the records below `directory` say; the page's path, None where there is no record."""
    from mlsys.sinks import page, table

    runs = record.find([directory])
    if not runs:
        return None
    table.write(directory, runs)
    return page.write(directory, runs)


def finish(directory: Path) -> None:
    """Draw, print the table and the page's path on stdout, and collect the runs that failed in `failures`."""
    from mlsys.sinks import table

    path = draw(directory)
    if path is None:
        return
    runs = record.find([directory])
    failures[:] = [f"{place.name}: {entry.error}" for place, entry in runs if entry.status != "ok"]
    if len(runs) == 1 and failures and not runs[0][1].results:
        return  # the one line that said why is all there is
    print(table.console(runs))
    print(f"page: {path}")
    if failures:
        progress.say(f"{len(failures)} of {len(runs)} failed:")
        for line in failures:
            progress.say(f"  {line}")


def interrupted() -> None:
    """After Ctrl-C: draw what was measured and say where it lies."""
    progress.say("stopped")
    for directory in _sweep_directory:
        finish(directory)
        progress.say(f"the same command with hydra.sweep.dir={directory} goes on from here")
