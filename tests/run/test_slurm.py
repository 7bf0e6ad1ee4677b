"""`hydra/launcher=cluster` on a real Slurm of one node: a sweep by sbatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_host import slurm

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow

NODE = ("partition=here", "gpus_per_node=0", "cpus_per_task=1", "mem_gb=1", "timeout_min=5")


def test_a_sweep_by_sbatch(outputs: Path, tmp_path: Path) -> None:
    with slurm(tmp_path / "slurm") as variables:
        words = [f"hydra.launcher.{word}" for word in NODE] + ["metric=l2", "size=1e3,0", "repeats=3"]
        done = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), "-m", "hydra/launcher=cluster", *words, "tracking=off"],
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1, done.stderr
    assert "1 of 2 failed" in done.stderr
    found = [json.loads(path.read_text()) for path in outputs.rglob("record.json")]
    assert sorted((entry["status"], entry["error"]) for entry in found if entry["error"]) == [
        ("failed", "UserError: size=0 must be at least 1")
    ]
    assert [entry["results"]["n"] for entry in found if entry["status"] == "ok"] == [1000]
