"""Real servers, started the way a run starts them: `python -m mlsys.serve CONFIG.yaml`, with simulated
models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlsys.serving.options import SCHEMAS
from mlsys.serving.process import Process

ROOT = Path(__file__).parents[2]
READY_S = 600
Launch = Callable[..., Any]


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


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """`with launch("batch", server={...}) as (url, process)`."""
    return lambda mode, **groups: launched(tmp_path, mode, **groups)


@pytest.fixture(scope="session")
def batch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One batch server for all tests that leave it as it was."""
    with launched(tmp_path_factory.mktemp("batch"), "batch", server={"max_k": 3}) as (url, _):
        yield url
