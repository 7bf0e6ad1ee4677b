"""The pipeline on a real Ray: answered, refused, streamed and found again; and what is left when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from launching import Launch, launched

pytest.importorskip("ray", reason="ray is not installed: pip install 'mlsys[ray]'")
pytestmark = pytest.mark.slow

KEY = {"authorization": "Bearer of-the-ring"}
SLOW = {"base_ms": 150.0, "per_request_ms": 0.0, "per_token_ms": 0.0}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two replicas with our batcher, a short line and a key."""
    os.environ["MLSYS_TEST_KEY"] = "of-the-ring"
    server = {"replicas": 2, "max_queue": 4, "api_key": "env:MLSYS_TEST_KEY", "check_interval_s": 0.5}
    directory = tmp_path_factory.mktemp("ray")
    with launched(directory, "ray", server=server, batching={"max_size": 2}, generator=SLOW) as (
        url,
        process,
    ):
        yield url
        assert process.terminate(300) == 0, process.log.read_text()


async def ask(url: str, /, headers: dict[str, str] = KEY, **body: Any) -> tuple[int, Any, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/rag", json=body, headers=headers) as response,
    ):
        content = await (response.json() if "json" in response.content_type else response.text())
        return response.status, content, {name.lower(): value for name, value in response.headers.items()}


async def told(url: str, path: str = "/stats") -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}{path}", headers=KEY) as response,
    ):
        return await response.json()


def session_of(pid: int) -> str:
    """The folder of the Ray that a service started."""
    words = [word for child in psutil.Process(pid).children(recursive=True) for word in child.cmdline()]
    return next(word for word in words if word.startswith(f"{os.environ.get('TMPDIR', '/tmp')}/mlsys-ray-"))


def using(directory: str) -> list[psutil.Process]:
    """Processes with a file of `directory` open: Ray's own write over their environment and their titles."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(file.path.startswith(directory) for file in process.open_files()):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_both_replicas_answer_and_the_record_knows_how_ray_was_set(url: str) -> None:
    answers = await asyncio.gather(*(ask(url, query=f"What is {number}?") for number in range(8)))
    assert {status for status, _, _ in answers} <= {200, 429}
    assert {body["replica"] for status, body, _ in answers if status == 200} == {"replica-0", "replica-1"}
    stats = await told(url)
    assert stats["mode"] == "ray"
    assert set(stats["replicas"]) == {"replica-0", "replica-1"}
    assert sum(int(size) * count for size, count in stats["batch_size"].items()) == sum(
        status == 200 for status, _, _ in answers
    )
    assert (stats["in_flight"], stats["front"]) == (0, {})
    pipeline = stats["pipeline"]
    assert pipeline["ray.max_ongoing_requests"] > 4 + 2
    assert pipeline["ray.throughput_optimized"] is True
    assert pipeline["ray.haproxy"] is False


async def test_a_full_line_refuses_with_429_and_says_when_to_come_back(url: str) -> None:
    answers = await asyncio.gather(*(ask(url, query=f"crowd {number}") for number in range(40)))
    refused = [(body, headers) for status, body, headers in answers if status == 429]
    assert len(answers) - len(refused) == sum(status == 200 for status, _, _ in answers) >= 1
    assert refused
    assert all(int(headers["retry-after"]) >= 1 for _, headers in refused)
    assert "server.max_queue=4" in refused[0][0]["detail"]


async def test_errors_are_those_of_every_mode(url: str) -> None:
    assert (await ask(url, headers={}, query="no key"))[0] == 401
    assert (await ask(url, query="no time", timeout_ms=20))[0] == 504
    assert (await ask(url, query="no such option", colour="red"))[0] == 422
    assert (await ask(url, query="x" * 70000))[0] == 413


async def test_a_stream_has_the_passages_the_text_and_an_end(url: str) -> None:
    status, events, headers = await ask(url, query="What is a cat?", stream=True)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in events.splitlines() if line.startswith("event: ")]
    assert names[0] == "passages"
    assert "text" in names
    assert names[-1] == "done"


async def test_a_job_is_found_whichever_replica_took_it(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/rag/jobs", json={"query": "later"}, headers=KEY) as response,
    ):
        number = (await response.json())["id"]
    for _ in range(8):
        assert (await told(url, f"/rag/jobs/{number}"))["status"] in ("pending", "done")


async def test_a_client_that_leaves_frees_its_place(url: str) -> None:
    before = (await told(url))["responses"].get("499", 0)
    while (await told(url))["responses"].get(
        "499", 0
    ) == before:  # it may leave before a busy machine lets it in
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(url, query="leaves")


async def test_killed_outright_it_leaves_no_process_and_no_port_was_open_to_others(launch: Launch) -> None:
    with launch("ray", server={"batcher": "ray"}, batching={"max_size": 4}) as (url, process):
        answers = await asyncio.gather(*(ask(url, query=f"What is {number}?") for number in range(8)))
        assert {status for status, _, _ in answers} == {200}
        stats = await told(url)
        assert stats["pipeline"]["ray.batcher"] == "ray"
        assert max(map(int, stats["batch_size"])) > 1
        directory = session_of(process.pid)
        there = using(directory)
        assert len(there) > 5
        listening = {
            c.laddr.ip for one in there for c in one.net_connections() if c.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        process.signal(signal.SIGKILL)
        process.wait(10)
        async with asyncio.timeout(300):
            while using(directory):
                await asyncio.sleep(0.05)
            while Path(directory).exists():  # what the last of them wrote is removed after them
                await asyncio.sleep(0.05)
