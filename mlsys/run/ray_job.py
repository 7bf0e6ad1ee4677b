"""One job of a sweep in a process of Ray's: measure it where it is seen by whoever started the sweep, or send it back.

Where the sweep's directory is on this node's disk too (one machine, a shared disk) the job measures into it, so that
its record is read while it grows. Elsewhere it measures into a folder of its own and sends the files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

MOST_BYTES = 64 << 20  # of a file that is sent


@dataclass(frozen=True)
class Job:
    """What a process needs to measure one configuration; `token`: a file that is there where the sweep's disk is."""

    config: DictConfig
    hydra_context: HydraContext
    task_function: TaskFunction
    singletons: dict[Any, Any]
    command: list[str]
    token: Path

    def measure(self) -> tuple[JobReturn, dict[str, bytes] | None]:
        """Hydra's word of the job, and the files of its folder by their names where they have to be sent."""
        sys.argv[:] = self.command
        from mlsys.run import config

        config.register()
        setup_globals()
        Singleton.set_state(self.singletons)
        if self.token.exists():
            return self._run(), None
        with tempfile.TemporaryDirectory(prefix="mlsys-") as folder:
            with open_dict(self.config):
                self.config.hydra.sweep.dir = folder
            done = self._run()
            return done, _files(Path(folder) / self.config.hydra.sweep.subdir)

    def _run(self) -> JobReturn:
        HydraConfig.instance().set_config(self.config)
        return run_job(
            hydra_context=self.hydra_context,
            config=self.config,
            task_function=self.task_function,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def place(files: dict[str, bytes], directory: Path) -> None:
    """Write files that a job sent; none lies outside of `directory`."""
    for name, content in files.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise ValueError(f"a job sent a file for {name}, outside of its directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(content)
        os.replace(part, path)


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.stat().st_size <= MOST_BYTES
    }
