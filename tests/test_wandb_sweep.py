"""`conf/wandb_sweep.yaml` with the real `wandb sweep` and `wandb agent`, the double and the real run.py."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb_double
import yaml

from mlsys import record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "generator=simulated",
    "embedder=hashing",
    "corpus=animals",
    "loadtest.requests=4",
    "loadtest.warmup_requests=0",
]
SMALL += ["loadtest.engine_ceiling=false", "loadtest.quality_questions=0"]


TRIED = {"batching.max_size": [4], "batching.timeout_ms": [5], "loadtest.concurrency": [5]}


def commands() -> list[dict[str, Any]]:
    """What a server would have an agent run: each of the settings, one after the other."""
    settings = [dict(zip(TRIED, values, strict=True)) for values in itertools.product(*TRIED.values())]
    return [
        {
            "type": "run",
            "run_id": f"trial{i}",
            "program": "run.py",
            "args": {key: {"value": value} for key, value in setting.items()},
        }
        for i, setting in enumerate(settings)
    ]


def test_an_agent_runs_the_sweep(tmp_path: Path) -> None:
    sweep = yaml.safe_load((ROOT / "conf" / "wandb_sweep.yaml").read_text())
    assert sweep["method"] == "bayes"
    sweep["command"] = [*sweep["command"][:-1], *SMALL, sweep["command"][-1]]
    assert set(TRIED) == set(sweep["parameters"])
    for key, values in TRIED.items():
        assert set(values) <= set(sweep["parameters"][key]["values"])
        sweep["parameters"][key]["values"] = values
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    with wandb_double.serve() as store:
        address = _run(store, tmp_path, "sweep", str(path))
        name = re.search(r"wandb agent (\S+)", address)
        assert name, address
        asked = commands()
        store.commands += asked
        _run(store, tmp_path, "agent", "--count", str(len(asked)), name[1])
    runs = record.find([tmp_path / "outputs"])
    assert [made.error for _, made in runs] == [None] * len(asked)
    assert [made.config["batching"]["max_size"] for _, made in runs] == TRIED["batching.max_size"]
    assert set(store.runs) == {command["run_id"] for command in asked} == store.exited
    assert all(run["sweep"] == name[1].rsplit("/", 1)[-1] for run in store.runs.values())
    for run, (_, made) in zip(sorted(store.runs), runs, strict=True):
        assert store.summary[run]["throughput_rps"] == made.levels[-1]["throughput_rps"]


def _run(store: wandb_double.Store, home: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"  # the agent calls `python`
    variables = {"WANDB_BASE_URL": store.address, "WANDB_API_KEY": store.key, "HOME": str(home), "PATH": path}
    variables |= {"MLSYS_OUTPUTS": str(home / "outputs"), "WANDB_DIR": str(home), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "wandb", *words]
    done = subprocess.run(line, cwd=ROOT, env=kept | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr
