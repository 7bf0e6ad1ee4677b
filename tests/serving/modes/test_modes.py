"""Each mode as a real process on a real socket: the same answers, honest times, an orderly end."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import psutil
import pytest
import yaml
from launching import Launch, launched, process_for
from sections import simulated

from mlsys.errors import MISUSE, UserError
from mlsys.serving import __main__ as serving
from mlsys.serving.process import ChildProcess

MODES = ["baseline", "queue", "batch", "lb"]
LB = {"replicas": 2}
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "baseline": {},
    "queue": {},
    "batch": {},
    "lb": {"server": LB},
}
Asked = tuple[int, dict[str, Any], float]
QUESTIONS = [
    f"What do {animal} do at {hour}?" for animal in ("cats", "dogs", "hummingbirds") for hour in range(4)
]


async def ask(session: aiohttp.ClientSession, url: str, query: str) -> Asked:
    started = time.perf_counter()
    async with session.post(f"{url}/rag", json={"query": query, "k": 2}) as response:
        body = await response.json()
        return response.status, body, (time.perf_counter() - started) * 1000


async def ask_all(url: str, queries: Sequence[str]) -> list[Asked]:
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(ask(session, url, query) for query in queries))


async def one_by_one(url: str, queries: Sequence[str]) -> list[Asked]:
    async with aiohttp.ClientSession() as session:
        return [await ask(session, url, query) for query in queries]


def family(process: ChildProcess) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=300)
    return not alive


@pytest.fixture(scope="module", params=MODES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, ChildProcess]]:
    mode = request.param
    with launched(tmp_path_factory.mktemp(mode), mode, generator={"base_ms": 150}, **GROUPS[mode]) as (
        url,
        process,
    ):
        yield mode, url, process


def test_every_mode_gives_the_same_answers(running: tuple[str, str, ChildProcess], batch_url: str) -> None:
    mode, url, process = running
    expected = [
        (body["result"], body["passages"]) for _, body, _ in asyncio.run(one_by_one(batch_url, QUESTIONS))
    ]
    answers = asyncio.run(ask_all(url, QUESTIONS))
    assert {status for status, _, _ in answers} == {200}
    assert [(body["result"], body["passages"]) for _, body, _ in answers] == expected
    sizes = {body["batch_size"] for _, body, _ in answers}
    assert (max(sizes) > 1) == (mode in ("batch", "lb"))
    replicas = {body["replica"] for _, body, _ in answers}
    assert replicas == ({"replica-0", "replica-1"} if mode == "lb" else {None})
    assert len(family(process)) == (3 if mode == "lb" else 1)


def test_stages_add_up_to_what_the_client_sees(running: tuple[str, str, ChildProcess]) -> None:
    """The server's clock runs within the client's, by however much the machine keeps the client waiting.

    The best of nine tells whether a stage is left out: generating, say, is nearly all of a request.
    """
    _, url, _ = running
    shares = []
    for _, body, e2e_ms in asyncio.run(one_by_one(url, QUESTIONS[:9])):
        *parts, total = body["timings_ms"].values()
        assert sum(parts) == pytest.approx(total, abs=0.01)
        assert total <= e2e_ms
        shares.append(total / e2e_ms)
    assert max(shares) > 0.7


@pytest.mark.parametrize(
    ("mode", "number"), [("baseline", signal.SIGTERM), ("batch", signal.SIGINT), ("lb", signal.SIGTERM)]
)
def test_a_signal_ends_running_work_first(mode: str, number: signal.Signals, launch: Launch) -> None:
    """Everything that was accepted is answered, then exit 0, and no process is left."""
    with launch(mode, generator={"base_ms": 300}, **GROUPS[mode]) as (url, process):
        members = family(process)

        async def interrupted() -> list[Asked]:
            asks = asyncio.create_task(ask_all(url, QUESTIONS[:6]))
            async with aiohttp.ClientSession() as session, asyncio.timeout(300):
                while (await stats(session, url))["in_flight"] < 6:
                    await asyncio.sleep(0.01)
                process.signal(number)
                return await asks

        answers = asyncio.run(interrupted())
        assert [status for status, _, _ in answers] == [200] * 6
        assert process.wait(300) == 0
        assert all_gone(members)


async def stats(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(f"{url}/stats") as response:
        told: dict[str, Any] = await response.json()
        return told


def test_killed_with_9_the_balancer_leaves_no_replica(launch: Launch) -> None:
    with launch("lb", server=LB) as (_, process):
        members = family(process)
        assert len(members) == 3
        os.kill(process.pid, signal.SIGKILL)
        assert all_gone(members)


def test_a_signal_while_starting_leaves_nothing(tmp_path: Path) -> None:
    with process_for(tmp_path, "lb", server=LB) as process:
        until = time.monotonic() + 300
        while len(members := family(process)) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        process.signal(signal.SIGTERM)
        assert process.wait(300) == 0
        assert len(members) == 3
        assert all_gone(members)


@pytest.mark.parametrize(
    ("mode", "groups", "line"),
    [
        ("batch", {"server": {"max_queue": 0}}, "server.max_queue=0 must be at least 1"),
        ("batch", {"batching": {"max_size": 0}}, "batching.max_size=0 must be at least 1"),
        (
            "batch",
            {"server": {"host": "203.0.113.1"}},
            "server.host=203.0.113.1 server.port=0: cannot listen there",
        ),
        ("batch", {"generator": {"max_new_tokens": 0}}, "generator.max_new_tokens=0 must be at least 1"),
        ("lb", {"generator": {"max_new_tokens": 0}}, "generator.max_new_tokens=0 must be at least 1"),
        ("lb", {"server": {"replica": "lb"}}, "server.replica=lb is none of baseline, batch"),
        ("external", {"server": {"url": "http://127.0.0.1:1"}}, "server=external is somebody else's service"),
    ],
)
def test_a_mistake_is_one_line(
    mode: str,
    groups: dict[str, dict[str, Any]],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the process says: it would take its time to start, and has threads and a clock of its own."""
    for name in ("limit_threads", "wall_clock"):
        monkeypatch.setattr(serving, name, Mock())
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(simulated(mode, **groups)))
    assert serving.main([str(path)]) == MISUSE
    said = capsys.readouterr().err.splitlines()
    assert [one for one in said if one.startswith("error: ")] == said[-1:]
    assert said[-1].startswith(f"error: {line}")


def test_a_mistake_of_a_process_is_the_users(launch: Launch) -> None:
    with (
        pytest.raises(UserError, match=r"^batching.max_size=0 must be at least 1$"),
        launch("batch", batching={"max_size": 0}),
    ):
        pass


def test_a_port_that_is_taken(launch: Launch, batch_url: str) -> None:
    port = int(batch_url.rsplit(":", 1)[1])
    expected = f"port={port}: cannot listen there: Address already in use"
    with pytest.raises(UserError, match=expected), launch("batch", server={"port": port}):
        pass
