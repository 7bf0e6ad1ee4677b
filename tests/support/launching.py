"""Real servers, started the way a run starts them: `python -m mlsys.serve CONFIG.yaml`, with simulated
models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import yaml
from sections import simulated

from mlsys.serving.process import ChildProcess

ROOT = Path(__file__).parents[2]
READY_S = 600
Launch = Callable[..., AbstractContextManager[tuple[str, ChildProcess]]]


def process_for(directory: Path, mode: str, **groups: dict[str, Any]) -> ChildProcess:
    """The server's process, not yet started; configuration and log are in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(simulated(mode, **groups)))
    argv = [sys.executable, "-m", "mlsys.serve", str(path)]
    return ChildProcess(argv, {"PYTHONPATH": str(ROOT)}, directory / "server.log")


@contextmanager
def launched(directory: Path, mode: str, **groups: dict[str, Any]) -> Iterator[tuple[str, ChildProcess]]:
    """A server process, ready; killed in the end with all that it started."""
    with process_for(directory, mode, **groups) as process:
        yield process.wait_ready(READY_S), process
