"""A new configuration while clients are served."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from launching import Launch

from mlsys.errors import UserError
from mlsys.serving.options import Server
from mlsys.serving.reloading import Conflict, Reload

SERVER = {"replicas": 2, "max_tokens": 64, "check_interval_s": 0.1, "probe_idle_s": 0.0}
Question = tuple[int, int]


class Replaceable:
    """Renews when the test lets it."""

    def __init__(self) -> None:
        self.go, self.seen = asyncio.Event(), list[Any]()
        self.error: Exception | None = None

    async def renew(self, options: Server, config: dict[str, Any]) -> None:
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.seen.append(config)


def read() -> tuple[Any, dict[str, Any]]:
    return None, {"new": True}


async def test_one_at_a_time_and_the_state_says_what_came_of_it() -> None:
    service = Replaceable()
    reload = Reload(read, service)
    assert reload.state() == {"status": "none"}
    reload.begin()
    await asyncio.sleep(0)
    assert reload.state()["status"] == "running"
    with pytest.raises(Conflict, match="a reload is under way"):
        reload.begin()
    service.go.set()
    while reload.state()["status"] == "running":
        await asyncio.sleep(0)
    assert (reload.state()["status"], service.seen) == ("done", [{"new": True}])


async def test_one_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    service = Replaceable()
    service.error = UserError("generator.base_ms=-1 is negative")
    service.go.set()
    reload = Reload(read, service)
    reload.begin()
    while reload.state()["status"] in ("none", "running"):
        await asyncio.sleep(0)
    assert {"status": "failed", "error": "generator.base_ms=-1 is negative"}.items() <= reload.state().items()
    assert "the replicas are as they were: generator.base_ms=-1" in capsys.readouterr().err


async def test_a_signal_never_ends_a_service_that_cannot_reload(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> tuple[Any, dict[str, Any]]:
        raise UserError("server.yaml: cannot be read")

    Reload(read, object()).by_signal()
    Reload(broken, Replaceable()).by_signal()
    told = capsys.readouterr().err
    assert "not reloaded: only server=lb with replicas of its own can be reloaded" in told
    assert "not reloaded: server.yaml: cannot be read" in told


async def ask(session: aiohttp.ClientSession, url: str) -> Question:
    """Status, and how many tokens the answer has."""
    async with session.post(f"{url}/rag", json={"query": "How fast is a cat?"}) as response:
        body = await response.json()
        return response.status, body.get("tokens", -1)


async def settled(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            async with session.get(f"{url}/admin/reload") as response:
                state: dict[str, Any] = await response.json()
            if state["status"] not in ("none", "running"):
                return state
            await asyncio.sleep(0.05)


async def test_no_request_is_lost_while_the_replicas_are_replaced(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("operator\n")
    server = {**SERVER, "api_key": f"file:{tmp_path}/keys"}
    with launch("lb", server=server, generator={"base_ms": 30, "max_new_tokens": 3}) as (url, process):
        path = next(tmp_path.rglob("config.yaml"))
        headers = {"Authorization": "Bearer operator"}
        async with aiohttp.ClientSession(headers=headers) as session:
            seen, stop = list[Question](), asyncio.Event()

            async def client() -> None:
                while not stop.is_set():
                    seen.append(await ask(session, url))

            def write(**knobs: object) -> None:
                config = yaml.safe_load(path.read_text())
                config["generator"] |= knobs
                path.write_text(yaml.safe_dump(config))

            clients = [asyncio.create_task(client()) for _ in range(6)]
            write(max_new_tokens=7)
            async with session.post(f"{url}/admin/reload") as response:
                assert response.status == 202
            async with session.post(f"{url}/admin/reload") as response:
                assert (response.status, (await response.json())["detail"]) == (409, "a reload is under way")
            assert (await settled(session, url))["status"] == "done"
            assert (await ask(session, url))[1] == 7
            write(base_ms=-1)
            process.signal(signal.SIGHUP)
            while (await settled(session, url))["status"] == "done":
                await asyncio.sleep(0.05)
            failed = await settled(session, url)
            assert failed["status"] == "failed"
            assert "generator.base_ms=-1" in failed["error"]
            assert (await ask(session, url))[1] == 7
            stop.set()
            await asyncio.gather(*clients)
            write(base_ms=30, max_new_tokens=7)
            config = yaml.safe_load(path.read_text())
            config["server"]["replicas"] = 3
            path.write_text(yaml.safe_dump(config))
            async with session.post(f"{url}/admin/reload") as response:
                assert response.status == 202
            while "replicas" not in (await settled(session, url))["error"]:
                await asyncio.sleep(0.05)
    assert {status for status, _ in seen} == {200}
    assert {tokens for _, tokens in seen} == {3, 7}
