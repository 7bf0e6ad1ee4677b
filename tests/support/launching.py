"""Real servers, started the way a run starts them: `python -m mlsys.serve CONFIG.yaml`, with simulated
models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mlsys.serving.options import SCHEMAS
from mlsys.serving.process import Process

ROOT = Path(__file__).parents[2]
READY_S = 600


def configuration(mode: str, server: dict[str, Any], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A resolved configuration for `server=mode`; `groups` changes knobs of the other groups."""
    chosen = {
        "batching": {"_target_": "mlsys.serving.batching.hybrid.Hybrid"},
        "balancer": {"_target_": "mlsys.serving.balancer.round_robin.RoundRobin"},
        "corpus": {"_target_": "mlsys.rag.corpus.animals.Animals"},
        "embedder": {"_target_": "mlsys.rag.embedder.hashing.Hashing"},
        "retriever": {"_target_": "mlsys.rag.retriever.exact.Exact"},
        "generator": {"_target_": "mlsys.rag.generator.simulated.Simulated"},
    }
    for group, knobs in groups.items():
        chosen[group] = {**chosen[group], **knobs}
    target = SCHEMAS[f"server/{mode}"]._target_
    return {"server": {"_target_": target, **server}, **chosen, "device": "cpu", "seed": 0, "threads": None}


def process_for(directory: Path, mode: str, **groups: dict[str, Any]) -> Process:
    """The server's process, not yet started; configuration and log are in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(configuration(mode, groups.pop("server", {}), groups)))
    argv = [sys.executable, "-m", "mlsys.serve", str(path)]
    return Process(argv, {"PYTHONPATH": str(ROOT)}, directory / "server.log")


@contextmanager
def launched(directory: Path, mode: str, **groups: dict[str, Any]) -> Iterator[tuple[str, Process]]:
    """A server process, ready; killed in the end with all that it started."""
    with process_for(directory, mode, **groups) as process:
        yield process.wait_ready(READY_S), process
