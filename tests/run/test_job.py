"""One run from configuration to record, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig
from sections import configuration

from mlsys import record, signatures
from mlsys.errors import UserError
from mlsys.record import Results
from mlsys.run import build, interleave, job


class Workload:
    kind = "distance"

    def __init__(self, then: BaseException | None = None) -> None:
        self.then = then
        self.measured = 0

    def measure(self) -> Iterator[Results]:
        self.measured += 1
        yield Results({"latency_ms": 1.0}, {"latency_ms": [1.0]})
        if self.then:
            raise self.then


def compose(*overrides: str) -> DictConfig:
    return configuration("tracking=off", *overrides)


def hydra_for(*overrides: str, sweep: Path | None = None) -> Any:
    return SimpleNamespace(
        overrides=SimpleNamespace(task=list(overrides)),
        mode=SimpleNamespace(name="MULTIRUN" if sweep else "RUN"),
        sweep=SimpleNamespace(dir=str(sweep)),
        launcher=SimpleNamespace(_target_=job.BASIC_LAUNCHER),
        output_subdir=".hydra",
        runtime=SimpleNamespace(choices={"hydra/launcher": "basic"}),
    )


def run(directory: Path, *overrides: str, sweep: Path | None = None) -> dict[str, Any]:
    job.run(compose(*overrides), hydra_for(*overrides, sweep=sweep), ["run.py", *overrides], directory)
    record: dict[str, Any] = json.loads((directory / "record.json").read_text())
    return record


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Workload:
    made = Workload()
    monkeypatch.setattr(build, "build", lambda plain, directory, asked: made)
    return made


def test_a_good_run_records_everything(tmp_path: Path, workload: Workload) -> None:
    content = run(tmp_path, "size=1e3", "metric=l1")
    assert (content["status"], content["error"], content["workload"]) == ("ok", None, "distance")
    assert content["command"] == ["run.py", "size=1e3", "metric=l1"]
    assert content["config"]["n"] == 1000
    assert content["config"]["metric"]["name"] == "l1"
    assert content["results"] == {"latency_ms": 1.0}
    assert content["samples"] == {"latency_ms": [1.0]}
    assert content["started_at"] < content["finished_at"]
    assert content["environment"]["after"]["memory_available_gib"] > 0


def test_what_was_measured_before_a_crash_is_kept(tmp_path: Path, workload: Workload) -> None:
    workload.then = RuntimeError("out of\nluck")
    content = run(tmp_path)
    assert (content["status"], content["error"]) == ("failed", "RuntimeError: out of")
    assert content["results"] == {"latency_ms": 1.0}
    assert "in measure" in (tmp_path / "traceback.txt").read_text()


def test_a_users_mistake_leaves_no_traceback(tmp_path: Path, workload: Workload, capsys: Any) -> None:
    workload.then = UserError("data.x=a.npy is not there")
    assert run(tmp_path)["error"] == "UserError: data.x=a.npy is not there"
    assert not (tmp_path / "traceback.txt").exists()
    assert capsys.readouterr().err.splitlines()[-1] == "data.x=a.npy is not there"


def test_an_interrupt_keeps_what_was_measured_and_is_passed_on(tmp_path: Path, workload: Workload) -> None:
    workload.then = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    entry = record.read(tmp_path)
    assert entry.status == "failed"
    assert entry.error is not None
    assert entry.error.startswith("KeyboardInterrupt")
    assert entry.results == {"latency_ms": 1.0}


def test_a_configuration_that_does_not_resolve_is_recorded_too(tmp_path: Path) -> None:
    content = run(tmp_path, "size=1.5")
    assert content["error"] == "UserError: size=1.5 is not a whole number"
    assert content["config"]["unresolved"]["size"] == 1.5


def test_a_sweep_skips_what_is_done_by_configuration(tmp_path: Path, workload: Workload, capsys: Any) -> None:
    run(tmp_path / "0", "size=1e3", sweep=tmp_path)
    job.run(compose("size=1000"), hydra_for("size=1000", sweep=tmp_path), ["run.py"], tmp_path / "1")
    assert workload.measured == 1
    assert "done before, in 0" in capsys.readouterr().err
    run(tmp_path / "1", "size=1e4", sweep=tmp_path)
    assert workload.measured == 2


def test_a_failed_job_is_not_done(tmp_path: Path, workload: Workload) -> None:
    workload.then = RuntimeError("no")
    run(tmp_path / "0", sweep=tmp_path)
    workload.then = None
    assert run(tmp_path / "0", sweep=tmp_path)["status"] == "ok"
    assert workload.measured == 2


class Sink:
    """Keeps what was asked of it; `refuses` as a sink does whose key is missing."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses, self.asked = refuses, list[str]()

    def open(self, entry: record.Record, directory: Path) -> None:
        self.asked.append("open")
        if self.refuses:
            raise UserError("tracking=online needs a W&B key")

    def close(self, entry: record.Record) -> None:
        self.asked.append(f"close {entry.status}")


def test_an_interleaved_sweep_learns_before_its_first_round_that_it_cannot_be_tracked(
    tmp_path: Path, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "make", lambda group, section: Sink(refuses=True))
    for name in ("a", "b"):
        overrides = (f"seed={len(name)}", "compare.interleave=true")
        job.run(compose(*overrides), hydra_for(*overrides, sweep=tmp_path), ["run.py"], tmp_path / name)
    interleave.run()
    assert workload.measured == 0
    for name in ("a", "b"):
        assert record.read(tmp_path / name).error == "UserError: tracking=online needs a W&B key"


@pytest.mark.parametrize(
    ("fails", "asked"), [(False, ["open", "close ok"]), (True, ["open", "close failed"])]
)
def test_an_interleaved_job_is_tracked_once_when_no_round_follows(
    tmp_path: Path, workload: Workload, monkeypatch: pytest.MonkeyPatch, fails: bool, asked: list[str]
) -> None:
    sink = Sink()
    monkeypatch.setattr(signatures, "make", lambda group, section: sink)
    workload.then = RuntimeError("no") if fails else None
    overrides = ("compare.interleave=true", "compare.rounds=3")
    job.run(compose(*overrides), hydra_for(*overrides, sweep=tmp_path), ["run.py"], tmp_path / "0")
    assert sink.asked == []
    interleave.run()
    assert sink.asked == asked
    assert workload.measured == (1 if fails else 3)


def test_interleaving_needs_one_process(tmp_path: Path) -> None:
    context = hydra_for(sweep=tmp_path)
    context.launcher._target_ = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    job.run(compose("compare.interleave=true"), context, ["run.py"], tmp_path / "0")
    assert record.read(tmp_path / "0").error == (
        "UserError: compare.interleave=true measures in one process: it needs hydra/launcher=basic"
    )


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_launcher_of_processes_does_not_go_with_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    context = hydra_for(sweep=tmp_path)
    context.launcher._target_ = "hydra_plugins.another.Launcher"
    context.runtime.choices["hydra/launcher"] = launcher
    job.run(compose(), context, ["run.py"], tmp_path / "0")
    assert record.read(tmp_path / "0").error == (
        f"UserError: hydra/launcher={launcher} starts processes of its own: torchrun goes with hydra/launcher=basic"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["repeats=0"], "repeats=0 must be at least 1"),
        (["warmup=-1"], "warmup=-1 must be at least 0"),
        (["threads=0"], "threads=0 must be at least 1"),
        (["time_limit_s=0"], "time_limit_s=0.0 must be more than 0"),
        (["memory_budget=some"], "memory_budget=some is not an amount of memory"),
        (["workload=serving"], "workload=serving does not go with server=none"),
        (["workload=search", "server=batch"], "workload=search does not go with server=batch"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    assert message in run(tmp_path, *overrides)["error"]


def test_the_name_of_a_keys_variable_is_recorded(tmp_path: Path, workload: Workload) -> None:
    content = run(tmp_path, "server=batch", "server.api_key=env:RAG_KEY")
    assert content["config"]["server"]["api_key"] == "env:RAG_KEY"
    assert "server.api_key=env:RAG_KEY" in content["command"]


def test_a_key_is_refused_and_in_no_record(tmp_path: Path, workload: Workload) -> None:
    content = run(tmp_path, "server=batch", "server.api_key=hunter2")
    assert "server.api_key must be env:NAME" in content["error"]
    assert "hunter2" not in json.dumps(content)
    assert workload.measured == 0


def test_a_servers_mistake_is_found_before_it_starts(tmp_path: Path) -> None:
    assert "batching.max_size=0" in run(tmp_path, "server=batch", "batching.max_size=0")["error"]
