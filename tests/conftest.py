"""What every test starts from: the interpreter for kernels where there is no GPU, and outputs of its own."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, settings

from mlsys import environment, timing
from mlsys.quantities import cores
from mlsys.run import app, cli, config, interleave, measured, sweep

ROOT = Path(__file__).resolve().parent.parent
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.pop("COLUMNS", None)  # what is printed fits itself to it, and pytest-xdist sets it
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Typed = Callable[..., "tuple[int, str, list[str]]"]
# How long an example takes is the machine's affair, and what else runs on it.
# The same examples each time: a run that passed passes again. New ones are looked for by HYPOTHESIS_PROFILE=hunt.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("hunt", settings.get_profile("any machine"), derandomize=False, max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "any machine"))


# Whoever asks for one of these starts whole programs.
PROGRAMS = {"command", "typed", "launch", "batch_url", "running", "balancer"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """How many processes `-n auto` starts: one more than cores, since many tests wait for what they started.

    But no more than there are 4 GiB for: a process takes up to 1.3 GiB, and so does what it starts. Tests that measure
    a GPU's memory want it for themselves.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # pytest-xdist reads it
    room = psutil.virtual_memory().total >> 32
    return 0 if torch.cuda.is_available() else max(2, min(4, cores() + 1, room))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("browser") or PROGRAMS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Libraries and tests stay: a full collection, of which each level has one, need not look through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSYS_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture
def command(outputs: Path, tmp_path: Path) -> Command:
    """Runs `python run.py …` as its user does, from another directory, without W&B unless a test asks for it."""

    def run(*words: str, tracking: str = "off") -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(ROOT / "run.py"), *words, f"tracking={tracking}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            line,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def typed(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Typed]:
    """`python run.py …` without a new process: exit code, standard output, the lines of standard error.

    What is timed is not looked at: the caches that are flushed and the copies that are timed are small.
    """
    config.register()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(environment, "WATCH_S", 0.0)
    monkeypatch.setitem(timing.COPY_BYTES, "cpu", 2**20)
    monkeypatch.setattr(timing, "last_level_cache_bytes", lambda: 2**18)
    for module, name in ((sweep, "failures"), (sweep, "_sweep_directory"), (interleave, "_deferred")):
        monkeypatch.setattr(module, name, [])
    for module, name in ((sweep, "_said"), (measured, "_unused")):
        monkeypatch.setattr(module, name, set())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words: str, tracking: str = "off") -> tuple[int, str, list[str]]:
        last = [] if {"--cfg", "--help"} & set(words) else [f"tracking={tracking}"]
        monkeypatch.setattr(sys, "argv", ["run.py", *words, *last])
        GlobalHydra.instance().clear()
        code = cli.call(app.run)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
    GlobalHydra.instance().clear()
