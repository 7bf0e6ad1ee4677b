"""Whether a connection had carried a request before, told to the task that asked."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from mlsys.serving.balancer.connector import Noting, kept


async def test_a_task_is_told_of_its_own_connection() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/".format(*runner.addresses[0][:2])

    async def ask() -> bool:
        async with session.get(url) as response:
            await response.read()
        return kept.get()

    async with aiohttp.ClientSession(connector=Noting(limit=0)) as session:
        assert await asyncio.gather(*(ask() for _ in range(3))) == [False] * 3
        assert sorted(await asyncio.gather(*(ask() for _ in range(4)))) == [False, True, True, True]
        assert await ask()
        await runner.cleanup()
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask()
        assert not kept.get()
