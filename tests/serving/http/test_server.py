"""The server process's edges: an address that cannot be had, signals that come twice, work that does not end."""

import asyncio
import signal
import socket

import aiohttp
import pytest
from launching import Launch
from sections import made
from serving_doubles import FakePipeline

from mlsys.errors import UserError
from mlsys.serving.http import server
from mlsys.serving.scheduler import Scheduler


@pytest.mark.parametrize(
    ("host", "reason"), [("203.0.113.1", "Cannot assign requested address"), ("no such host", "")]
)
def test_an_address_that_cannot_be_had(host: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        server.bind(host, 0)
    assert str(caught.value).startswith(f"server.host={host} server.port=0: cannot listen there: {reason}")
    assert "Unknown error" not in str(caught.value)


def test_a_free_port_on_both_families() -> None:
    options = made("server/batch")
    with server.bind("127.0.0.1", 0) as listener:
        assert server._address(listener, options) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    if socket.has_ipv6:
        with server.bind("::1", 0) as listener:
            assert server._address(listener, options) == f"http://[::1]:{listener.getsockname()[1]}"


async def test_one_stop_that_comes_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: list[int] = []
    now = [100.0]
    monkeypatch.setattr(server, "_exit", exits.append)
    monkeypatch.setattr("mlsys.serving.http.server.time.monotonic", lambda: now[0])
    stop = server._Stop()
    stop()
    assert stop.event.is_set()
    now[0] += 0.9
    stop()
    assert exits == []
    now[0] += 0.2
    stop()
    assert exits == [1]


async def test_a_server_that_lacks_a_package_is_never_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(self: server.Http, sockets: list[socket.socket]) -> None:
        raise ModuleNotFoundError("No module named 'httptools'")

    monkeypatch.setattr(server.Http, "serve", serve)
    pipeline = FakePipeline()
    service = Scheduler(made("server/batch"), [pipeline], made("batching/hybrid"))
    with server.bind("127.0.0.1", 0) as listener, pytest.raises(ModuleNotFoundError, match="httptools"):
        await server._serve(service, made("server/batch"), listener, None)
    assert pipeline.calls == []
    assert capsys.readouterr().out == ""


async def test_ready_means_that_the_socket_answers() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        with pytest.raises(
            RuntimeError, match=r"GET /health at http://127\.0\.0\.1:\d+ is answered with nothing"
        ):
            await server._answers(listening.sockets[0], made("server/batch"))


def test_work_that_outlasts_the_drain_is_abandoned(launch: Launch) -> None:
    server = {"drain_timeout_s": 0.05}
    with launch("batch", server=server, generator={"base_ms": 1200}) as (url, process):

        async def abandoned() -> None:
            async with aiohttp.ClientSession() as session, asyncio.timeout(300):
                ask = asyncio.create_task(session.post(f"{url}/rag", json={"query": "x"}))
                while True:
                    async with session.get(f"{url}/stats") as response:
                        if (await response.json())["running"] == 1:
                            break
                process.signal(signal.SIGTERM)
                with pytest.raises(aiohttp.ClientError):
                    await ask

        asyncio.run(abandoned())
        assert process.wait(300) == 1
        assert "work that was still running has been abandoned" in process.log.read_text()


def test_an_unfinished_body_does_not_hold_up_the_end(launch: Launch) -> None:
    with launch("batch") as (url, process):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /rag HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            process.signal(signal.SIGTERM)
            assert process.wait(300) == 0
