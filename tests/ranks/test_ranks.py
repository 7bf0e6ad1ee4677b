"""`torchrun run.py …` as its user types it: 2 and 3 processes that talk through gloo."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torchrun

from mlsys import ranks
from mlsys.defaults import ROOT
from mlsys.distance import distance
from mlsys.distance.data.random import Random

pytestmark = pytest.mark.slow

QUICK_RUN = str(ROOT / "tests" / "support" / "quick_run.py")
TINY = ("repeats=3", "warmup=1", "tracking=off")
TWO_GPUS_THERE = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="takes two GPUs")
BROKEN = """
import os
from mlsys.distance.data.random import Random

class Broken(Random):
    def open(self, n, dtype, seed):
        if seed == 1 and os.environ["RANK"] == "1":
            raise OSError("the disk is gone")
        return super().open(n, dtype, seed)
"""


def run_py(ranks: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return torchrun.run(ranks, QUICK_RUN, *words, **variables)


def records(outputs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(outputs.rglob("record.json"))]


def test_a_sweep_over_ranks_leaves_one_record_a_job_and_resumes(outputs: Path) -> None:
    n = 100_001
    sweep = f"hydra.sweep.dir={outputs}/sweep"
    line = ("-m", "metric=l2,cosine", f"size={n}", sweep, *TINY)
    done = run_py(2, *line)
    assert done.returncode == 0, done.stderr
    found = records(outputs)
    assert [entry["config"]["metric"]["name"] for entry in found] == ["cosine", "l2"]
    x, y = (source.tensor() for source in Random().open(n, torch.float32, 0))
    for entry in found:
        results = entry["results"]
        alone = float(distance(x, y, entry["config"]["metric"]["name"]))
        assert (entry["status"], entry["config"]["ranks"]) == ("ok", 2)
        assert results["value"] == pytest.approx(alone, rel=3e-7)
        assert results["relative_error"] <= 1e-6
        assert (results["ranks"], results["shard_n"], results["n"]) == (2, 50_001, n)
        assert results["bandwidth_gbps"] == pytest.approx(2 * 4 * n / results["latency_ms"] / 1e6)
        assert results["reduction"] == "blocked"
        assert results["rank_devices"].startswith("2 × cpu on ")
        assert "spread over 2 ranks" in results["baseline.numpy.error"]
        assert not any(name.startswith("speedup.") for name in results)
    assert done.stdout.count("page: ") == 1
    assert done.stderr.count("timing l2") == 1
    again = run_py(2, *line)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("done before") == 2
    assert records(outputs) == found
    assert {path.name for path in (outputs / "sweep").iterdir() if path.is_dir()} == {
        f"metric={metric},repeats=3,size={n},warmup=1,ranks=2" for metric in ("l2", "cosine")
    }


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, TWO_GPUS_THERE])])
def test_rows_of_a_search_are_spread_over_ranks(outputs: Path, device: str) -> None:
    words = ("workload=search", "search.rows=7e4", "search.dim=24", "search.queries=5", f"device={device}")
    done = run_py(2, "-m", "placement=device,host", *words, *TINY)
    assert done.returncode == 0, done.stderr
    for entry in records(outputs):
        results = entry["results"]
        assert (entry["status"], entry["config"]["ranks"], results["ranks"]) == ("ok", 2, 2)
        assert (results["recall"], results["index_equal"], results["shard_rows"]) == (1.0, True, 35_000)
        assert results["bandwidth_gbps"] == pytest.approx(4 * 24 * 7e4 / results["latency_ms"] / 1e6)
        assert "spread over 2 ranks" in results["baseline.faiss.error"]
        assert not any(name.startswith("speedup.") for name in results)
    assert sorted("stream.chunk_rows" in entry["results"] for entry in records(outputs)) == [False, True]


@pytest.mark.gpu
@TWO_GPUS_THERE
def test_two_gpus_share_vectors_through_nccl_and_a_failed_rank_fails_one_job(
    outputs: Path, tmp_path: Path
) -> None:
    n = 3_000_001
    line = ("-m", "metric=l2,cosine", "placement=device,host", f"size={n}", "device=cuda", *TINY)
    done = run_py(2, *line, "memory_budget=64MiB")
    assert done.returncode == 0, done.stderr
    x, y = (source.tensor().cuda() for source in Random().open(n, torch.float32, 0))
    for entry in records(outputs):
        results = entry["results"]
        assert results["value"] == pytest.approx(
            float(distance(x, y, entry["config"]["metric"]["name"])), rel=3e-7
        )
        assert results["relative_error"] <= 1e-6
        assert (results["ranks"], results["shard_n"], results["reduction"]) == (2, 1_500_001, "single_pass")
        assert results["rank_devices"].startswith(f"2 × {torch.cuda.get_device_name()} on ")
    (tmp_path / "broken.py").write_text(BROKEN)
    words = (
        "-m",
        "seed=1,0",
        "size=1e3",
        "data._target_=broken.Broken",
        "device=cuda",
        "baselines=[]",
        *TINY,
    )
    assert run_py(2, *words, PYTHONPATH=str(tmp_path)).returncode != 0
    outcome = {e["config"]["seed"]: e["status"] for e in records(outputs) if e["config"]["n"] == 1000}
    assert outcome == {0: "ok", 1: "failed"}


def test_three_ranks_stream_their_parts_of_a_file(outputs: Path, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 300_001))
    x[-1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    files = ("data=file", f"data.x={tmp_path}/x.npy", f"data.y={tmp_path}/y.npy")
    done = run_py(3, "-m", "placement=host,device", "metric=l2", "baselines=[]", *files, *TINY)
    assert done.returncode == 0, done.stderr
    for entry in records(outputs):
        results = entry["results"]
        assert (results["ranks"], results["n"], results["shard_n"]) == (3, 300_001, 100_001)
        assert (results["nan_count"], results["value"], results["relative_error"]) == (1, "nan", 0.0)
    assert sorted("stream.chunk_n" in entry["results"] for entry in records(outputs)) == [False, True]


def test_a_mistake_is_one_line_and_a_nonzero_exit(outputs: Path) -> None:
    done = run_py(2, "metric=l3", *TINY)
    assert done.returncode != 0
    assert done.stderr.count("metric=l3 is not an option; there are: cosine, dot, l1, l2, sqeuclidean") == 1
    assert records(outputs) == []


def test_what_does_not_go_over_ranks_and_a_rank_that_fails_fail_their_jobs_and_no_other(
    outputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    words = ("-m", "workload=pairs,tune,distance", "seed=1,0", "size=1e3", "baselines=[]", *TINY)
    done = run_py(2, *words, "data._target_=broken.Broken", PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert done.stderr.count("rank 1: the disk is gone") == 2  # when it happens, and in the sweep's end
    alone = "UserError: workload={} runs in one process: start it without torchrun"
    errors = {(entry["workload"], entry["config"]["seed"]): entry["error"] for entry in records(outputs)}
    assert errors == {
        **{(workload, seed): alone.format(workload) for workload in ("pairs", "tune") for seed in (0, 1)},
        ("distance", 1): "RankError: rank 1: the disk is gone",
        ("distance", 0): None,
    }
    (trace,) = outputs.rglob("traceback.txt")
    assert "broken.py" in trace.read_text()


@pytest.mark.parametrize("how", ["interrupt", "terminate", "kill"])
def test_ranks_that_are_stopped_leave_a_record_and_no_process(outputs: Path, how: str) -> None:
    words = ("-m", "metric=l2", "size=1e5", "repeats=1000000", "time_limit_s=1000", "tracking=off")
    with torchrun.started(2, QUICK_RUN, *words) as process:
        while not any(entry["results"].get("value") for entry in records(outputs)):
            assert process.poll() is None, "it ended before anything was measured"
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        if how == "kill":
            next(child for child in children if child.environ().get("RANK") == "1").kill()
        else:
            process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGTERM)
        process.communicate()
        assert process.returncode != 0
        _, left = psutil.wait_procs(children, timeout=60)
        assert left == []
    (entry,) = records(outputs)
    assert entry["status"] == "failed"
    assert entry["results"]["value"]
    assert entry["error"].startswith(("KeyboardInterrupt", "LostRank: a rank has gone or hangs"))


def test_one_process_is_alone_with_and_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ranks.size(), ranks.rank()) == (1, 0)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with ranks.together() as group:
        assert group is ranks.SINGLE
        assert (group.slowest([1.0, 2.0]), group.total([3.0])) == ([1.0, 2.0], [3.0])
