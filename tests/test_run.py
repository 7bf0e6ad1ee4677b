"""The command line as its user types it: in a process of its own where the process is the point, else in this one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlsys.defaults import ROOT

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Typed = Callable[..., "tuple[int, str, list[str]]"]
TINY = ("repeats=3", "warmup=1", "size=1e3")


def records(outputs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(outputs.rglob("record.json"))]


def test_a_sweep_from_another_directory_leaves_records_table_and_page(
    command: Command, outputs: Path
) -> None:
    done = command("-m", "metric=l2,cosine", "size=1e3,2e3", "repeats=3", tracking="offline")
    assert done.returncode == 0, done.stderr
    found = records(outputs)
    assert [(entry["status"], entry["config"]["metric"]["name"]) for entry in found] == [
        ("ok", "cosine"),
        ("ok", "cosine"),
        ("ok", "l2"),
        ("ok", "l2"),
    ]
    (sweep,) = outputs.glob("*/*-sweep")
    names = {path.name for path in sweep.iterdir()}
    assert {"table.md", "table.csv", "index.html", "metric=l2,repeats=3,size=1000.0"} <= names
    assert f"page: {sweep / 'index.html'}" in done.stdout
    assert not (Path.cwd() / "multirun").exists()


def test_a_sweep_goes_on_after_a_failed_job_and_resumes(typed: Typed, outputs: Path) -> None:
    line = ("-m", "size=1e3,1.5", "metric=l1", "repeats=3", f"hydra.sweep.dir={outputs}/again")
    code, out, err = typed(*line)
    assert code == 1
    assert "1 of 2 failed:" in err
    assert any("size=1.5 is not a whole number" in said for said in err)
    assert "Traceback" not in "".join([out, *err])
    assert sorted(entry["status"] for entry in records(outputs)) == ["failed", "ok"]
    _, _, err = typed(*line)
    assert any("done before" in said for said in err)
    assert len(records(outputs)) == 2


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["metric=l3"], 2, "metric=l3 is not an option; there are: cosine, dot, l1, l2, sqeuclidean"),
        (["size=0"], 1, "size=0 must be at least 1"),
    ],
)
def test_a_mistake_is_one_line(command: Command, words: list[str], code: int, line: str) -> None:
    done = command(*words)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(line)
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize("key", ["server.api_key=hunter2", "+server.api_key='hunter2'", "experiment=mine"])
def test_a_key_that_is_written_out_is_left_nowhere(
    typed: Typed, outputs: Path, tmp_path: Path, sweep: list[str], key: str
) -> None:
    preset = tmp_path / "conf" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# @package _global_\nserver: {api_key: hunter2}\n")
    code, out, err = typed(
        "--config-dir", str(tmp_path / "conf"), *sweep, "server=batch", "loadtest=none", key
    )
    assert code != 0
    assert "server.api_key must be env:NAME" in "".join(err)
    assert "hunter2" not in "".join([out, *err])
    for path in outputs.rglob("*"):
        assert "hunter2" not in str(path)
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path


def test_help_teaches(typed: Typed) -> None:
    code, out, _ = typed("--help")
    assert code == 0
    for text in (
        "metric       cosine dot l1 l2 sqeuclidean",
        "-m metric=l2,cosine size=1e6,1e8",
        "MLSYS_OUTPUTS",
    ):
        assert text in out
    assert "schema" not in out
    assert "numpy_native" in out


def test_cfg_job_shows_the_configuration(typed: Typed) -> None:
    code, out, _ = typed("--cfg", "job", "size=1e7")
    assert code == 0
    assert "size: 10000000.0" in out


def test_a_preset_sweeps_by_itself(typed: Typed, outputs: Path) -> None:
    code, _, err = typed("experiment=seed_distance", "hydra.sweeper.params.size=1e3", "repeats=3")
    assert code == 0, err
    assert {entry["config"]["metric"]["name"] for entry in records(outputs)} == {"l2", "l1", "cosine", "dot"}
    assert all("speedup.torch_native" in entry["results"] for entry in records(outputs))


def test_joblib_launches_jobs_in_parallel(command: Command, outputs: Path) -> None:
    done = command("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "metric=l2,dot", *TINY)
    assert done.returncode == 0, done.stderr
    assert [entry["status"] for entry in records(outputs)] == ["ok", "ok"]
    assert list(outputs.glob("*/*-sweep/index.html"))


def test_submitit_launches_jobs_on_this_machine(command: Command, outputs: Path) -> None:
    done = command("-m", "hydra/launcher=submitit_local", "metric=l2", *TINY)
    assert done.returncode == 0, done.stderr
    assert [entry["status"] for entry in records(outputs)] == ["ok"]


def test_the_cluster_launcher_composes(typed: Typed) -> None:
    code, out, err = typed("--cfg", "hydra", "hydra/launcher=cluster", "hydra.launcher.partition=gpu")
    assert code == 0, err
    assert "submitit_launcher.SlurmLauncher" in out
    assert "partition: gpu" in out


def test_interleaved_variants_share_their_rounds(typed: Typed, outputs: Path) -> None:
    code, _, err = typed("-m", "metric=l2,dot", "compare.interleave=true", "compare.rounds=2", *TINY)
    assert code == 0, err
    assert [len(entry["samples"]["latency_ms"]) for entry in records(outputs)] == [6, 6]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_was_measured_where_the_shell_ignores_sigint(outputs: Path, number: int) -> None:
    """Started as by `nohup … &`; how long it takes is for the machine to say, that it ends for the program."""
    line = ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, str(ROOT / "run.py"), "-m"]
    line += ["tracking=off", "metric=l2,l1", "repeats=100000", "size=1e3,1e6", "time_limit_s=1000"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while not any(entry["results"].get("value") for entry in records(outputs)):
            assert process.poll() is None, "it ended before anything was measured"
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "to go on from here" in errors
    (entry,) = records(outputs)
    assert entry["error"].startswith("KeyboardInterrupt")
    assert entry["results"]["value"]
