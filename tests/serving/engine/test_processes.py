"""`server.engine_process=true` as real processes: it ends within two seconds however it is stopped, and whole."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from launching import Launch, process_for
from sections import composed, made

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.serving import engine
from mlsys.serving.balancer.options import replica_options

APART = {"engine_process": True}
SLOW = {"base_ms": 700.0}
SOON_S = 20.0  # two on a machine that is not busy


async def asked(url: str, seconds: float = 30) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{url}/rag", json={"query": "a cat"}) as response,
    ):
        return response.status, await response.json()


async def stopped(url: str, pid: int, number: int) -> tuple[int, Any]:
    """What becomes of a request that runs while a process gets a signal."""
    asking = asyncio.create_task(asked(url))
    await asyncio.sleep(0.35)
    os.kill(pid, number)
    return await asking


@pytest.mark.parametrize(
    ("number", "answer", "exit_status"), [(signal.SIGTERM, 200, 0), (signal.SIGKILL, 503, 1)]
)
def test_a_stop_of_the_engine_is_the_services_and_its_death_too(
    launch: Launch, number: int, answer: int, exit_status: int
) -> None:
    with launch("batch", server=APART, generator=SLOW) as (url, process):
        (child,) = psutil.Process(process.pid).children(recursive=True)
        half = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        half.sendall(b"POST /rag HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        status, body = asyncio.run(stopped(url, child.pid, number))
        assert status == answer
        assert body.get("detail", "") == ("" if answer == 200 else "the engine's process has ended")
        began = time.monotonic()
        with half:
            assert half.recv(12) == b"HTTP/1.1 503"
        assert process.wait(60) == exit_status
        assert psutil.wait_procs([child], timeout=60)[1] == []
        assert time.monotonic() - began < SOON_S
        said = process.log.read_text()
    assert ("error: the engine's process was ended by SIGKILL" in said) == (number == signal.SIGKILL)
    assert "Traceback" not in said


def test_no_engine_outlives_its_service(launch: Launch) -> None:
    with launch("continuous", server=APART) as (url, process):
        (child,) = psutil.Process(process.pid).children(recursive=True)
        assert asyncio.run(asked(url))[0] == 200
        os.kill(process.pid, signal.SIGKILL)
        assert psutil.wait_procs([child], timeout=60)[1] == []


def test_a_mistake_that_the_engine_finds_is_one_line(tmp_path: Path) -> None:
    with process_for(tmp_path, "batch", server=APART, generator={"base_ms": -1.0}) as process:
        with pytest.raises(UserError, match=r"^generator\.base_ms=-1\.0 must be 0 or more$"):
            process.wait_ready(60)
        assert process.wait(60) == 2


@pytest.mark.parametrize(
    ("words", "gpus", "cores", "expected"),
    [
        (("server=continuous", "generator=random"), ["0"], 4, True),
        (("server=continuous", "generator=random"), [], 4, False),
        (("server=continuous", "generator=random"), ["0"], 2, False),
        (("server=continuous", "generator=random", "device=cpu"), ["0"], 4, False),
        (("server=continuous", "generator=simulated"), ["0"], 4, False),
        (("server=batch", "generator=random"), ["0"], 4, False),
        (("server=batch", "generator=random", "server.engine_process=true"), [], 1, True),
        (("server=continuous", "generator=random", "server.engine_process=false"), ["0"], 4, False),
        (("server=lb", "generator=random", "server.engine_process=true"), ["0"], 4, False),
    ],
)
def test_two_processes_where_they_are_wanted_or_worth_it(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], gpus: list[str], cores: int, expected: bool
) -> None:
    monkeypatch.setattr(engine, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(engine, "cores", lambda: cores)
    config = composed(*words)
    assert engine.wanted(signatures.make("server", config["server"]), config) is expected


def test_a_balancers_replicas_have_engines_of_their_own() -> None:
    assert replica_options(made("server/lb", **APART), 0)["engine_process"] is True
