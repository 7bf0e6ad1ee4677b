"""Active checks against replicas that say one thing and do another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Literal

from aiohttp import web
from sections import made
from serving_doubles import eventually

from mlsys.serving.balancer.backend import Backend
from mlsys.serving.balancer.calls import HttpCalls
from mlsys.serving.balancer.checks import Checks
from mlsys.serving.balancer.options import Balancing

FAST = made("server/lb", check_interval_s=0.01, check_timeout_s=0.2, probe_idle_s=0.05, probe_timeout_s=0.2)

Mood = int | Literal["hangs"]


class Replica:
    ready: Mood = 200
    answers: Mood = 200
    probes = 0

    async def answered(self, mood: Mood) -> web.Response:
        if mood == "hangs":
            await asyncio.sleep(10)
            mood = 200
        return web.Response(status=mood)

    async def on_ready(self, request: web.Request) -> web.Response:
        return await self.answered(self.ready)

    async def on_rag(self, request: web.Request) -> web.Response:
        self.probes += 1
        return await self.answered(self.answers)


@asynccontextmanager
async def watched(replica: Replica, chosen: Balancing = FAST) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/ready", replica.on_ready)
        app.router.add_post("/rag", replica.on_rag)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stack.push_async_callback(runner.cleanup)
        calls = await stack.enter_async_context(HttpCalls(2.0))
        host, port = runner.addresses[0][:2]
        backend = Backend("replica", f"http://{host}:{port}", chosen)
        checks = Checks([backend], chosen, calls)
        stack.push_async_callback(checks.stop)
        yield backend


async def test_unready_falls_ready_rises() -> None:
    replica = Replica()
    async with watched(replica) as backend:
        replica.ready = 503
        await eventually(lambda: not backend.health.up)
        replica.ready = 200
        await eventually(lambda: backend.health.up)
        assert backend.health.up


async def test_a_hanging_check_is_a_bad_check() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, check_timeout_s=0.02)) as backend:
        replica.ready = "hangs"
        await eventually(lambda: not backend.health.up)
        assert not backend.health.up


async def test_well_in_word_but_not_in_deed() -> None:
    """/ready says 200 all the time; real questions fail."""
    replica = Replica()
    async with watched(replica) as backend:
        replica.answers = 500
        await eventually(lambda: not backend.health.up)
        replica.answers = 200
        await eventually(lambda: backend.health.up)
        assert backend.health.up


async def test_a_hanging_answer_is_no_proof() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, probe_timeout_s=0.02)) as backend:
        replica.answers = "hangs"
        await eventually(lambda: not backend.health.up)
        assert not backend.health.up


async def test_a_hanging_replica_is_probed_while_requests_wait_on_it() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, probe_timeout_s=0.02)) as backend:
        replica.answers = "hangs"
        waiting = asyncio.create_task(asyncio.sleep(60))
        backend.take(waiting)
        await eventually(lambda: not backend.health.up)
        await eventually(waiting.cancelled)
        assert waiting.cancelled(), "it may go elsewhere"


async def test_a_replica_too_busy_for_the_probe_has_its_clients_answers_as_proof() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, probe_timeout_s=0.1, check_interval_s=0.02)) as backend:
        replica.answers = "hangs"
        for _ in range(20):
            await asyncio.sleep(0.06)
            backend.answered(200)
        assert replica.probes > 0
        assert backend.health.up


async def test_a_redirect_is_neither_ready_nor_an_answer() -> None:
    replica = Replica()
    async with watched(replica) as backend:
        replica.ready = 302
        await eventually(lambda: not backend.health.up)
        replica.ready, replica.answers = 200, 302
        await asyncio.sleep(0.1)
        assert not backend.health.up
        replica.answers = 200
        await eventually(lambda: backend.health.up)


async def test_a_replica_that_says_nothing_is_silent_only_while_requests_wait() -> None:
    replica = Replica()
    chosen = replace(FAST, check_interval_s=60, silent_s=0.05)
    async with watched(replica, chosen) as backend:
        waiting = asyncio.create_task(asyncio.sleep(60))
        backend.take(waiting)
        await asyncio.sleep(0.2)
        assert not backend.silence.silent()
        replica.ready = "hangs"
        await eventually(lambda: backend.silence.silent())
        assert backend.stats()["silent"] is True
        assert backend.health.up
        waiting.cancel()
        replica.ready = 503
        await eventually(lambda: not backend.silence.silent())


async def test_who_answers_clients_is_not_probed() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, probe_idle_s=3600)) as backend:
        backend.proved()
        await asyncio.sleep(0.1)
        assert replica.probes == 0
        assert backend.health.up


async def test_probes_can_be_off() -> None:
    replica = Replica()
    async with watched(replica, replace(FAST, probe_idle_s=0.0)):
        await asyncio.sleep(0.1)
        assert replica.probes == 0
