"""With the real client, each time in a process of its own: W&B reads its environment when it is imported."""

from __future__ import annotations

import json
import os
import socket
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
from wandb_file import read_offline

from mlsys.record import read
from mlsys.tracking.wandb import run_id

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
