"""The balancer with real replica processes under load: killed, stopped, overloaded, or somebody else's."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import psutil
import pytest
from launching import launched
from openai import AsyncOpenAI

from mlsys.serving.process import ChildProcess

QUICK = {
    "replicas": 3,
    "restart_min_s": 0.1,
    "check_interval_s": 0.1,
    "check_timeout_s": 0.3,
    "probe_idle_s": 0.0,
    "max_queue": 32,
}


async def post(session: aiohttp.ClientSession, url: str, body: object, path: str = "/rag") -> tuple[int, Any]:
    async with session.post(url + path, json=body) as response:
        return response.status, await response.json()


async def stats(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(f"{url}/stats") as response:
        told: dict[str, Any] = await response.json()
        return told


async def wait_for(
    session: aiohttp.ClientSession,
    url: str,
    condition: Callable[[dict[str, Any]], bool],
    timeout_s: float = 60,
) -> dict[str, Any]:
    async with asyncio.timeout(timeout_s):
        while not condition(current := await stats(session, url)):
            await asyncio.sleep(0.02)
    return current


class Load:
    """`clients` closed-loop clients until told to stop; every answer is kept."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clients: int) -> None:
        self.answers: list[tuple[str, int, dict[str, Any]]] = []
        self._stop = asyncio.Event()
        self._clients = [asyncio.create_task(self._client(session, url, number)) for number in range(clients)]

    async def _client(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        sent = 0
        while not self._stop.is_set():
            query = f"client {number} question {sent}"
            status, body = await post(session, url, {"query": query})
            self.answers.append((query, status, body))
            sent += 1

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._clients)


def pid_of(process: ChildProcess, url: str) -> int:
    """The replica that listens on the port of `url`."""
    port = int(url.rsplit(":", 1)[1])
    for child in psutil.Process(process.pid).children():
        if any(c.laddr.port == port for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN):
            return child.pid
    raise AssertionError(f"nobody listens on {port}")


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ChildProcess]]:
    with launched(tmp_path_factory.mktemp("lb"), "lb", server=QUICK, generator={"base_ms": 60}) as (
        url,
        process,
    ):
        yield url, process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_no_request_is_lost_when_a_replica_is_killed_or_hangs(
    balancer: tuple[str, ChildProcess], number: signal.Signals
) -> None:
    url, process = balancer
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        before = await wait_for(session, url, lambda s: all(r["up"] for r in s["replicas"].values()))
        victim = pid_of(process, before["replicas"]["replica-1"]["url"])
        load = Load(session, url, clients=18)
        await wait_for(session, url, lambda s: s["replicas"]["replica-1"]["in_flight"] >= 3)
        os.kill(victim, number)
        down = await wait_for(session, url, lambda s: not s["replicas"]["replica-1"]["up"])
        assert down["state"] == "ready"
        answered = len(load.answers)
        while len(load.answers) < answered + 40:
            await asyncio.sleep(0.01)
        if number == signal.SIGSTOP:
            os.kill(victim, signal.SIGCONT)
        up = await wait_for(session, url, lambda s: s["replicas"]["replica-1"]["up"])
        served = up["replicas"]["replica-1"]["requests"]
        await wait_for(session, url, lambda s: s["replicas"]["replica-1"]["requests"] > served)
        await load.stop()
        after = await stats(session, url)
    assert {status for _, status, _ in load.answers} == {200}, "a request was lost"
    assert all(body["query"] == query for query, _, body in load.answers)
    assert after["retries"] > before["retries"]
    restarts = after["replicas"]["replica-1"]["restarts"] - before["replicas"]["replica-1"]["restarts"]
    assert restarts == (number == signal.SIGKILL)
    assert {replica["in_flight"] for replica in after["replicas"].values()} == {0}
    assert after["in_flight"] == 0


async def test_a_third_of_the_clients_leave(balancer: tuple[str, ChildProcess]) -> None:
    url, _ = balancer
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asks = [asyncio.create_task(post(session, url, {"query": f"q{number}"})) for number in range(45)]
        await wait_for(session, url, lambda s: s["in_flight"] >= 20)
        for ask in asks[::3]:
            ask.cancel()
        await asyncio.wait(asks)
        stayed = [ask.result() for number, ask in enumerate(asks) if number % 3]
        assert {status for status, _ in stayed} == {200}
        idle = await wait_for(session, url, lambda s: s["in_flight"] == 0)
        assert {replica["in_flight"] for replica in idle["replicas"].values()} == {0}
        assert all(replica["up"] for replica in idle["replicas"].values())


async def test_ten_times_overload(balancer: tuple[str, ChildProcess]) -> None:
    url, _ = balancer
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        answers = await asyncio.gather(
            *(post(session, url, {"query": f"q{number}"}) for number in range(960))
        )
        statuses = [status for status, _ in answers]
        assert set(statuses) <= {200, 429}
        assert statuses.count(200) >= 96
        assert statuses.count(429) > 0
        idle = await wait_for(session, url, lambda s: s["in_flight"] == 0)
        assert all(replica["up"] and not replica["ejected"] for replica in idle["replicas"].values())


async def test_jobs_deadlines_and_mistakes_through_the_balancer(balancer: tuple[str, ChildProcess]) -> None:
    url, _ = balancer
    async with aiohttp.ClientSession() as session:
        status, job = await post(session, url, {"query": "What do cats do?"}, "/rag/jobs")
        assert status == 202
        async with asyncio.timeout(300):
            while True:
                async with session.get(f"{url}/rag/jobs/{job['id']}") as response:
                    body = await response.json()
                if body["status"] != "pending":
                    break
                await asyncio.sleep(0.02)
        assert body["response"]["replica"].startswith("replica-")
        assert (await post(session, url, {"query": "x", "timeout_ms": 5}))[0] == 504
        assert (await post(session, url, {"query": ""}))[0] == 422


async def test_stats_and_metrics_name_the_replicas(balancer: tuple[str, ChildProcess]) -> None:
    url, _ = balancer
    async with aiohttp.ClientSession() as session:
        await post(session, url, {"query": "x"})
        current = await stats(session, url)
        async with session.get(f"{url}/metrics") as response:
            text = await response.text()
    assert list(current["replicas"]) == ["replica-0", "replica-1", "replica-2"]
    assert current["pipeline"]["generator.name"] == "simulated"
    assert sum(current["batch_size"].values()) > 0
    assert 'mlsys_replica_up{replica="replica-2"} 1.0' in text
    assert 'mlsys_replica_requests_total{code="200",replica="replica-0"}' in text


async def test_given_backends(tmp_path: Path, batch_url: str) -> None:
    server = {**QUICK, "backends": [batch_url, "http://127.0.0.1:9"]}
    with launched(tmp_path, "lb", server=server) as (url, process):
        async with aiohttp.ClientSession() as session:
            for number in range(6):
                assert (await post(session, url, {"query": f"q{number}", "k": 1}))[0] == 200
            current = await wait_for(session, url, lambda s: not s["replicas"]["http://127.0.0.1:9"]["up"])
        assert current["state"] == "ready"
        assert psutil.Process(process.pid).children() == []


async def test_streams_pass_and_a_death_in_their_midst_is_told(tmp_path: Path) -> None:
    server = {**QUICK, "replicas": 2, "replica": "continuous", "max_tokens": 5000}
    with launched(tmp_path, "lb", server=server, generator={"per_token_ms": 20}) as (url, process):
        async with (
            aiohttp.ClientSession() as session,
            AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
        ):
            conversation: Any = [{"role": "user", "content": "What do cats do?"}]
            short = await client.chat.completions.create(
                model="rag", messages=conversation, max_tokens=5, stream=True
            )
            assert len([chunk async for chunk in short]) >= 3
            assert [model.id async for model in client.models.list()] == ["rag", "simulated"]
            assert len((await client.embeddings.create(model="hashing", input="x")).data) == 1
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="gpt", messages=conversation)
            stream = await client.chat.completions.create(
                model="rag", messages=conversation, max_tokens=5000, stream=True
            )
            texts = aiter(stream)
            for _ in range(3):
                await anext(texts)
            name = stream.response.headers["x-replica"]
            os.kill(pid_of(process, (await stats(session, url))["replicas"][name]["url"]), signal.SIGKILL)
            with pytest.raises(openai.APIError, match="the answer broke off"):
                await anext_error(texts)
            idle = await wait_for(session, url, lambda s: s["in_flight"] == 0)
            assert {replica["in_flight"] for replica in idle["replicas"].values()} == {0}


async def anext_error(texts: AsyncIterator[Any]) -> None:
    """Read until the stream ends, which an error must do."""
    async for _ in texts:
        pass
