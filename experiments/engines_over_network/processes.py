"""An engine and a service, each a process of its own, from command lines as for run.py."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir

from mlsys.loadtest.children import environment
from mlsys.run import config
from mlsys.serving.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
START_S = 600.0


def process(directory: Path, name: str, *overrides: str) -> ChildProcess:
    """A serving process that has not been started; its log is `directory/name.log`."""
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = config.resolved(compose("config", list(overrides)))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    argv = [sys.executable, "-m", "mlsys.serve", str(path)]
    return ChildProcess(argv, environment(), directory / f"{name}.log")


def started(child: ChildProcess) -> str:
    """Its address, once it answers."""
    child.start()
    return child.wait_ready(START_S)
