"""`tracking=mlflow` against a real store: a SQLite database in a file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sections import composed, configuration

from mlsys import extras, signatures
from mlsys.errors import UserError
from mlsys.record import Level, Record, Results, now
from mlsys.run import config
from mlsys.tracking.mlflow import MlflowSink

pytestmark = pytest.mark.slow


def entry(**results: Any) -> Record:
    made = Record("serving", ["run.py", "server=batch"], composed("server=batch"), "d" * 64, {}, now())
    made.environment = {"versions": {"torch": "2.13"}, "hostname": "h"}
    for clients, rate in ((1, 2.0), (8, 9.0)):
        values = {"concurrency": clients, "throughput_rps": rate, "e2e_ms.p99": None, "valid": True}
        made.add(Level({**values, "e2e_ms.hist.100": 3, "replica.a:1?.requests": 5}))
    made.add(Results(results))
    made.end()
    return made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables, made once: that takes seconds."""
    home = tmp_path_factory.mktemp("store")
    sink(home).open(entry(), home)
    return home


@pytest.fixture
def home(empty: Path, tmp_path: Path) -> Path:
    shutil.copy(empty / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def sink(home: Path, **knobs: Any) -> MlflowSink:
    usual = {"uri": None, "directory": str(home), "experiment": "mlsys", "timeout_s": 5.0, "requests": True}
    return MlflowSink("mlflow", **{**usual, **knobs})


def closed(home: Path, place: Path, record: Record) -> None:
    record.write(place)
    (place / "requests.parquet").write_bytes(b"rows")
    made = sink(home)
    made.open(record, place)
    made.close(record)


def runs(home: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    found = client.get_experiment_by_name("mlsys")
    assert found is not None
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


def test_a_run_has_its_settings_a_step_for_each_level_and_its_files(home: Path) -> None:
    from mlflow import MlflowClient

    closed(home, home / "run", entry(startup_s=3.5, note="x"))
    (run,) = runs(home)
    assert (run.info.run_name, run.info.status) == ("batch hybrid", "FINISHED")
    assert run.data.params["server.name"] == "batch"
    assert run.data.params["machine.versions.torch"] == "2.13"
    assert run.data.metrics["throughput_rps"] == 9
    assert run.data.metrics["startup_s"] == 3.5
    assert run.data.metrics["replica.a_1_.requests"] == 5
    assert not any("hist" in name or name.startswith("config") for name in run.data.metrics)
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    course = client.get_metric_history(run.info.run_id, "throughput_rps")
    assert [(point.step, point.value) for point in course] == [(0, 2.0), (1, 9.0)]
    assert {one.path for one in client.list_artifacts(run.info.run_id)} >= {"record.json", "requests.parquet"}


def test_jobs_of_a_sweep_lie_below_one_run(home: Path) -> None:
    sweep = home / "sweep"
    sweep.mkdir()
    (sweep / "multirun.yaml").touch()
    for number in range(2):
        closed(home, sweep / str(number), entry(number=number))
    parent, *children = runs(home)
    assert parent.info.run_name == "sweep"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}


def test_the_same_record_again_is_one_run_and_a_failed_one_says_so(home: Path) -> None:
    record = entry()
    closed(home, home / "run", record)
    record.end("ValueError: no")
    closed(home, home / "run", record)
    (run,) = runs(home)
    assert run.info.status == "FAILED"


def test_a_store_that_is_none_is_one_line(tmp_path: Path) -> None:
    made = sink(tmp_path, uri="nonsense://x")
    with pytest.raises(UserError, match=r"^tracking.uri=nonsense://x cannot be used: "):
        made.open(entry(), tmp_path)
    with pytest.raises(UserError, match=r"^tracking.timeout_s=0 must be more than 0$"):
        sink(tmp_path, timeout_s=0)


def test_without_its_extra_one_line_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "absent", lambda module: f"{module} is not installed")
    with pytest.raises(UserError, match=r"^tracking=mlflow: mlflow is not installed$"):
        sink(tmp_path).open(entry(), tmp_path)


def test_the_environment_names_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    made = signatures.make("tracking", config.resolved(configuration("tracking=mlflow"))["tracking"])
    assert isinstance(made, MlflowSink)
    assert made.uri == "http://h:5000"
