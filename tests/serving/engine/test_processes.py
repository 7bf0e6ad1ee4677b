"""`server.engine_process=true` as real processes: it ends within two seconds however it is stopped, and whole."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from launching import Launch, process_for

from mlsys.errors import UserError

APART = {"engine_process": True}
SOON_S = 2.0


async def asked(url: str, seconds: float = 30) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{url}/rag", json={"query": "a cat"}) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("whom", "number", "status"),
    [
        ("http", signal.SIGTERM, 0),
        ("http", signal.SIGINT, 0),
        ("http", signal.SIGKILL, -signal.SIGKILL),
        ("engine", signal.SIGTERM, 0),
        ("engine", signal.SIGKILL, 1),
    ],
)
def test_both_processes_end_soon(launch: Launch, whom: str, number: int, status: int) -> None:
    with launch("continuous", server=APART) as (url, process):
        http = psutil.Process(process.pid)
        (engine,) = http.children(recursive=True)
        assert asyncio.run(asked(url))[0] == 200
        began = time.monotonic()
        os.kill({"http": http, "engine": engine}[whom].pid, number)
        assert process.wait(60) == status
        assert psutil.wait_procs([engine], timeout=60)[1] == []
        assert time.monotonic() - began < 10 * SOON_S, "as far as a busy machine can be held to it"
        said = process.log.read_text()
    if whom == "engine" and number == signal.SIGKILL:
        assert "error: the engine's process was ended by SIGKILL" in said


def test_work_that_runs_is_answered_before_a_stop_and_503_when_its_engine_dies(launch: Launch) -> None:
    slow = {"base_ms": 700.0}

    async def stopped(url: str, pid: int, number: int) -> tuple[int, Any]:
        asking = asyncio.create_task(asked(url))
        await asyncio.sleep(0.35)
        os.kill(pid, number)
        return await asking

    with launch("batch", server=APART, generator=slow) as (url, process):
        status, body = asyncio.run(stopped(url, process.pid, signal.SIGTERM))
        assert (status, body["tokens"]) == (200, 32)
        assert process.wait(60) == 0
    with launch("batch", server=APART, generator=slow) as (url, process):
        (engine,) = psutil.Process(process.pid).children(recursive=True)
        status, body = asyncio.run(stopped(url, engine.pid, signal.SIGKILL))
        assert (status, body["detail"]) == (503, "the engine's process has ended")
        assert process.wait(60) == 1


def test_a_mistake_that_the_engine_finds_is_one_line(tmp_path: Path) -> None:
    with process_for(tmp_path, "batch", server=APART, generator={"base_ms": -1.0}) as process:
        with pytest.raises(UserError, match=r"^generator\.base_ms=-1\.0 must be 0 or more$"):
            process.wait_ready(60)
        assert process.wait(60) == 2


def test_a_balancers_replicas_have_engines_of_their_own(launch: Launch) -> None:
    with launch("lb", server={"replicas": 2, **APART}) as (url, process):
        family = psutil.Process(process.pid).children(recursive=True)
        lines = [" ".join(one.cmdline()) for one in family]
        assert sum("mlsys.serving.engine" in line for line in lines) == 2
        assert len(lines) == 4
        status, body = asyncio.run(asked(url))
        assert status == 200
        assert json.dumps(body["replica"]).startswith('"replica-')
        process.terminate(30)
        assert psutil.wait_procs(family, timeout=60)[1] == []
