"""With the real client, each time in a process of its own: W&B reads its environment when it is imported."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
import wandb_double
from sections import made

from mlsys.errors import UserError
from mlsys.record import Record, read
from mlsys.report.rows import rows
from mlsys.tracking.wandb import run_id, run_name, sweep_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DRAW = """
import sys
from pathlib import Path
from mlsys.record import read
from sections import made
for place in map(Path, sys.argv[2:]):
    sink = made("tracking/online", mode=sys.argv[1], group="my-sweep")
    sink.open(read(place), place)
    sink.close(read(place))
"""
Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """Runs python with nothing of W&B's in its environment but what the test gives."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {**kept, "HOME": str(home), "PYTHONPATH": f"{ROOT}:{ROOT}/tests/support", **variables}
        line = [sys.executable, *words]
        return subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def sweep(tmp_path: Path) -> list[Path]:
    """A sweep of three: a distance, a serving run with its requests, a failed run."""
    runs = synthetic.save(tmp_path / "sweep", [synthetic.distance(), synthetic.serving(), synthetic.failed()])
    pd.DataFrame({"level": [0], "e2e_ms": [1.5]}).to_parquet(runs[1][0] / "requests.parquet")
    return [place for place, _ in runs]


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any]]]:
    """A port that takes connections, never answers, and keeps who came."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def take() -> None:
            while not over.is_set():
                try:
                    came.append(server.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        over.set()
        thread.join(5)
    for connection, _ in came:
        connection.close()


def read_offline(place: Path) -> dict[str, Any]:
    """What an offline run's file says: LevelDB's log framing around protobuf records."""
    from wandb.proto import wandb_internal_pb2

    (path,) = place.glob("wandb/offline-run-*/run-*.wandb")
    data, at, part = path.read_bytes(), 7, b""
    found: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "artifacts": []}
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made on import
            record.ParseFromString(part)
            part = b""
            _take(found, record)
    return found


def _take(found: dict[str, Any], record: Any) -> None:
    def items(part: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in part}

    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        found |= {
            "group": run.run_group,
            "job_type": run.job_type,
            "id": run.run_id,
            "name": run.display_name,
        }
        found["tags"] = list(run.tags)
        found["config"] |= items(run.config.update)
    elif kind == "history":
        found["history"].append(items(record.history.item))
    elif kind == "summary":
        found["summary"] |= items(record.summary.update)
    elif kind == "artifact":
        found["artifacts"].append(record.artifact.name)
    elif kind == "exit":
        found["exit"] = record.exit.exit_code


def test_an_offline_sweep_reads_back_and_asks_no_network(
    client: Client, sweep: list[Path], listener: tuple[str, list[Any]], tmp_path: Path
) -> None:
    address, came = listener
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), address)
    done = client("-c", DRAW, "offline", *map(str, sweep), WANDB_BASE_URL=address, **proxies)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert came == []
    assert list((tmp_path / "home").iterdir()) == []

    distance, serving, failed = (read_offline(place) for place in sweep)
    assert {run["group"] for run in (distance, serving, failed)} == {"my-sweep"}
    assert [run["job_type"] for run in (distance, serving, failed)] == ["distance", "serving", "distance"]
    assert [run["exit"] for run in (distance, serving, failed)] == [0, 0, 1]
    assert len({run["id"] for run in (distance, serving, failed)}) == 3
    record = read(sweep[0])
    assert distance["config"]["metric"]["name"] == "l2"
    assert distance["summary"]["latency_ms"] == record.results["latency_ms"]
    assert distance["summary"]["speedup.numpy"] == record.results["speedup.numpy"]
    points = [point for point in serving["history"] if "load" in point]
    assert [point["load"] for point in points] == [1, 5, 10, 20]
    assert [point["throughput_rps"] for point in points] == [0.58, 1.15, 1.3, 1.5]
    assert serving["summary"]["e2e_ms.p95"] == read(sweep[1]).levels[-1]["e2e_ms.p95"]
    assert failed["summary"]["error"].startswith("UserError: size=1.5")
    assert not any(
        isinstance(value, dict) for name, value in serving["summary"].items() if name.startswith("e2e")
    )


def test_a_synced_offline_sweep_arrives_whole(client: Client, sweep: list[Path]) -> None:
    assert client("-c", DRAW, "offline", *map(str, sweep)).returncode == 0
    with wandb_double.serve() as store:
        found = [str(path) for place in sweep for path in place.glob("wandb/offline-run-*")]
        done = client(
            "-m", "wandb", "sync", *found, WANDB_BASE_URL=store.address, WANDB_API_KEY=wandb_double.KEY
        )
        assert done.returncode == 0, done.stderr + done.stdout
    assert_arrived(store, sweep)


def test_online_runs_arrive(client: Client, sweep: list[Path]) -> None:
    with wandb_double.serve() as store:
        variables = {"WANDB_BASE_URL": store.address, "WANDB_API_KEY": wandb_double.KEY}
        done = client("-c", DRAW, "online", *map(str, sweep), **variables)
        assert done.returncode == 0, done.stderr
    assert_arrived(store, sweep)


def assert_arrived(store: wandb_double.Store, sweep: list[Path]) -> None:
    assert store.unknown == []
    records = [read(place) for place in sweep]
    assert set(store.runs) == {run_id(*pair) for pair in zip(records, sweep, strict=True)} == store.exited
    assert all(run["groupName"] == "my-sweep" for run in store.runs.values())
    ids = [str(run_id(*pair)) for pair in zip(records, sweep, strict=True)]
    assert store.summary[ids[0]]["latency_ms"] == records[0].results["latency_ms"]
    assert [point["load"] for point in store.history[ids[1]] if "load" in point] == [1, 5, 10, 20]
    for place, run in zip(sweep, ids, strict=True):
        made = {artifact["type"]: artifact for artifact in store.artifacts.values() if artifact["run"] == run}
        assert {artifact["state"] for artifact in made.values()} == {"COMMITTED"}
        assert store.files[made["record"]["files"]["record.json"]] == (place / "record.json").read_bytes()
        table = json.loads(store.files[made["run_table"]["files"]["rows.table.json"]])
        assert len(table["data"]) == max(1, len(read(place).levels))
    serving = next(a for a in store.artifacts.values() if a["run"] == ids[1] and a["type"] == "record")
    assert store.files[serving["files"]["requests.parquet"]] == (sweep[1] / "requests.parquet").read_bytes()
    plots = [path for path in store.files if ids[1] in path and path.endswith(".plotly.json")]
    assert len(plots) == 5


TRY = """
import time
from pathlib import Path
import synthetic
from mlsys.errors import UserError
from sections import made

try:
    made("tracking/online", timeout_s=2).open(synthetic.distance(), Path("run"))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "tracking=online needs a W&B key: `wandb login`, or WANDB_API_KEY; tracking=offline needs none"),
        (
            {"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"},
            "no W&B server at http://127.0.0.1:9: ",
        ),
        ({"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": "LISTENER"}, "tracking=offline needs none"),
    ],
    ids=["no key", "no server", "no answer"],
)
def test_online_without_key_or_server_is_one_line_at_once(
    client: Client, listener: tuple[str, list[Any]], variables: dict[str, str], said: str
) -> None:
    variables = {name: value.replace("LISTENER", listener[0]) for name, value in variables.items()}
    done = client("-c", TRY, **variables | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"})
    assert said in done.stdout, done.stderr
    assert done.stdout.startswith("tracking=online")
    assert done.stdout.count("\n") == 1


def test_a_refused_key_is_said(client: Client) -> None:
    with wandb_double.serve(key="another") as store:
        variables = {"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": store.address}
        done = client("-c", TRY, **variables, PYTHONPATH=f"{ROOT}:{ROOT / 'tests' / 'support'}")
    assert done.stdout == f"tracking=online: the W&B server at {store.address} refuses the key\n"


def test_online_without_a_key_keeps_the_record(
    command: Callable[..., subprocess.CompletedProcess[str]],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = command("metric=l2", "size=1e3", "device=cpu", tracking="online")
    assert done.returncode != 0
    (path,) = outputs.rglob("record.json")
    assert "tracking=online needs a W&B key" in str(read(path).error)
    assert "Traceback" not in done.stderr + done.stdout


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mlsys.tracking.wandb import surroundings

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    with surroundings("offline", tmp_path):
        assert os.environ["WANDB_MODE"] == "offline"
        assert os.environ["WANDB_DATA_DIR"].startswith(str(tmp_path))
    assert os.environ["WANDB_MODE"] == "online"
    assert "WANDB_DATA_DIR" not in os.environ


def test_the_group_is_the_sweep_where_there_is_one(tmp_path: Path) -> None:
    assert sweep_name(tmp_path / "sweep" / "0") is None
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").touch()
    assert sweep_name(tmp_path / "sweep" / "0") == "sweep"


def test_bad_options_name_themselves() -> None:
    with pytest.raises(UserError, match=r"tracking\.mode=on is none of offline, online, disabled"):
        made("tracking/online", mode="on")
    with pytest.raises(UserError, match=r"tracking\.timeout_s=0\.0 must be more than 0"):
        made("tracking/offline", timeout_s=0)


def test_the_same_record_is_the_same_run_unless_an_agent_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = tmp_path / "sweep" / "0"
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert run_id(synthetic.distance(), run) == run_id(synthetic.distance(), run)
    assert run_id(synthetic.distance(), run) != run_id(synthetic.distance("dot"), run)
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    assert run_id(synthetic.distance(), run) is None


def test_the_runs_of_a_sweep_do_not_share_the_id_that_an_agent_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "multirun.yaml").touch()
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    ids = {
        run_id(made, tmp_path / made.config["metric"]["name"])
        for made in map(synthetic.distance, ("l2", "dot"))
    }
    assert len(ids) == 2
    assert not ids & {None, "agents"}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (synthetic.distance(), "l2 blocked float32 1,000,000"),
        (synthetic.serving("queue"), "queue"),
        (synthetic.failed(), "l2"),
    ],
)
def test_run_name(made: Record, name: str) -> None:
    assert run_name(rows([(Path("/x"), made)])[0]) == name


def test_without_wandb_an_offline_run_goes_on_and_an_online_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = "wandb is not installed: pip install 'mlsys[wandb]'"
    monkeypatch.setattr("mlsys.extras.absent", lambda name: lacking)
    sink = made("tracking/offline", mode="offline")
    sink.open(synthetic.distance(), tmp_path)
    sink.close(synthetic.distance())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == f"this run is not kept for W&B: {lacking}\n"
    with pytest.raises(UserError, match=r"tracking\.mode=online: wandb is not installed"):
        made("tracking/online").open(synthetic.distance(), tmp_path)
