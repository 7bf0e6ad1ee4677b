"""`hydra/launcher=ray`: a sweep on a Ray of its own, and on a cluster of two nodes of which one is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlsys.defaults import ROOT
from mlsys.run.ray_job import place

RAY = ("-m", "hydra/launcher=ray", "tracking=off", "baselines=[]", "warmup=1")
ELSEWHERE = """
import sys
from pathlib import Path
from mlsys.run import ray_tasks

class Elsewhere(ray_tasks._Sweep):
    def __init__(self, launcher, sweep, token):
        super().__init__(launcher, sweep, Path("/nowhere"))  # as if a node had a disk of its own

ray_tasks._Sweep = Elsewhere
from mlsys.run.__main__ import main
sys.exit(main())
"""


def records(outputs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(outputs.rglob("record.json"))]


def start(program: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(program), *RAY, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["shared", "own"])
def test_a_sweep_on_ray_gathers_its_records_and_resumes(outputs: Path, tmp_path: Path, disk: str) -> None:
    pytest.importorskip("ray")
    program = ROOT / "run.py"
    if disk == "own":
        program = tmp_path / "run.py"
        program.write_text(ELSEWHERE)
    sweep = outputs / "sweep"
    words = ("metric=l2", "size=1e3,0", "repeats=3", f"hydra.sweep.dir={sweep}", "hydra.launcher.num_cpus=1")
    process = start(program, *words)
    out, errors = process.communicate()
    assert process.returncode == 1, errors
    assert re.search(r"run: .*size=1000\.0", errors)
    assert "1 of 2 failed" in errors
    assert "page: " in out
    found = {entry["config"].get("n"): entry for entry in records(sweep) if entry["status"] == "ok"}
    assert list(found) == [1000]
    assert found[1000]["command"][:2] == ["run.py", "-m"]
    (failed,) = [entry for entry in records(sweep) if entry["status"] != "ok"]
    assert failed["error"] == "UserError: size=0 must be at least 1"
    assert not list(sweep.glob(".ray-*"))
    if disk == "own":
        return
    again = start(program, *(word.replace("1e3,0", "1e3") for word in words))
    _, errors = again.communicate()
    assert "size=1000.0" in errors
    assert "done before, in" in errors
    assert {entry["config"].get("n"): entry for entry in records(sweep) if entry["status"] == "ok"} == found


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster whose head runs no jobs."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_killed_and_a_stop(outputs: Path, cluster: Any) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    words = ("metric=l2", "seed=1,2", "size=1e3", "repeats=1000000", "time_limit_s=1000")
    process = start(ROOT / "run.py", *words, f"hydra.launcher.address={cluster.address}")
    try:
        begun = begun_at(outputs, process, set())
        cluster.remove_node(nodes[0], allow_graceful=False)
        cluster.add_node(num_cpus=1)
        again = begun_at(outputs, process, {min(begun), max(begun)})
        assert len(set(begun) & set(again)) == 1  # the job on the other node goes on
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "to go on from here" in errors
    assert [entry["error"].split(":")[0] for entry in records(outputs)] == ["KeyboardInterrupt"] * 2


def begun_at(outputs: Path, process: subprocess.Popen[str], before: set[str]) -> list[str]:
    """When the two jobs that are being measured have begun, once these are others than `before`."""
    while True:
        assert process.poll() is None, process.communicate()
        begun = [entry["started_at"] for entry in records(outputs) if entry["results"].get("value")]
        if len(begun) == 2 and set(begun) != before:
            return begun
        time.sleep(0.1)


def test_a_file_outside_of_the_jobs_directory_is_refused(tmp_path: Path) -> None:
    place({"record.json": b"{}", "a/b": b"1"}, tmp_path / "job")
    assert (tmp_path / "job" / "a" / "b").read_bytes() == b"1"
    with pytest.raises(ValueError, match="outside of its directory"):
        place({"../other": b""}, tmp_path / "job")
