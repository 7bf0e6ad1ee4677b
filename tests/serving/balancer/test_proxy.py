"""Against replicas that misbehave on purpose, over real sockets: who is asked, and counts that return to
zero.
"""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from mlsys.serving import options
from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import RetryBudget
from mlsys.serving.balancer.proxy import Proxy
from mlsys.serving.balancer.round_robin import RoundRobin
from mlsys.serving.request import Request, Unavailable

from ..doubles import eventually

OPTIONS = options.LoadBalancer()


class Replica:
    """Answers as its `mood` says; `asked` are the bodies it got."""

    def __init__(self, mood):
        self.mood, self.asked, self.release = mood, [], asyncio.Event()

    async def rag(self, request):
        self.asked.append(await request.json())
        if isinstance(self.mood, int):
            return web.json_response({"by": id(self)}, status=self.mood, headers={"retry-after": "7"})
        if self.mood == "slow":
            await self.release.wait()
            return web.json_response({"by": id(self)})
        if self.mood == "half":
            response = web.StreamResponse(headers={"content-length": "100"})
            await response.prepare(request)
            await response.write(b"{")
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def balanced(*moods, budget=None):
    """A proxy in front of one replica for each mood; `None` is an address where nobody listens."""
    async with AsyncExitStack() as stack:
        replicas, backends = [], []
        for number, mood in enumerate(moods):
            replica = Replica(mood)
            app = web.Application()
            app.router.add_post("/rag", replica.rag)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            stack.push_async_callback(runner.cleanup)
            host, port = runner.addresses[0][:2]
            if mood is None:
                await site.stop()
            replicas.append(replica)
            backends.append(Backend(f"replica-{number}", f"http://{host}:{port}", OPTIONS))
        group = Backends(backends, RoundRobin())
        proxy = await stack.enter_async_context(Proxy(group, budget or RetryBudget(0.2, 100), 2.0))
        yield proxy, backends, replicas
        assert [backend.in_flight for backend in backends] == [0] * len(backends), (
            "a count did not return to zero"
        )
        assert not any(backend.attempts for backend in backends)


async def test_an_answer_passes_through():
    async with balanced(200) as (proxy, backends, replicas):
        answer = await proxy.forward(Request("who?", 3))
        assert (answer.status, answer.replica) == (200, "replica-0")
        assert json.loads(answer.body) == {"by": id(replicas[0])}
        assert replicas[0].asked == [{"query": "who?", "k": 3}]
        assert backends[0].stats()["responses"] == {"200": 1}


async def test_the_deadline_goes_along():
    async with balanced(200) as (proxy, _, replicas):
        await proxy.forward(Request("who?", 3, timeout_ms=5000))
        assert 0 < replicas[0].asked[0]["timeout_ms"] <= 5000


@pytest.mark.parametrize("mood", [None, "abort", "half"])
async def test_a_broken_connection_is_tried_elsewhere(mood):
    async with balanced(mood, 200) as (proxy, backends, _):
        for _ in range(4):
            assert (await proxy.forward(Request("q", 1))).replica == "replica-1"
        assert backends[0].codes["failed"] == proxy.retries > 0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_replica_is_passed_over(status):
    async with balanced(status, 200) as (proxy, backends, _):
        assert (await proxy.forward(Request("q", 1))).status == 200
        assert not backends[0].health.ejected(0)


async def test_when_all_are_busy_the_client_is_told_so():
    async with balanced(429, 429) as (proxy, _, replicas):
        answer = await proxy.forward(Request("q", 1))
        assert (answer.status, answer.retry_after) == (429, "7")
        assert [len(replica.asked) for replica in replicas] == [1, 1]


@pytest.mark.parametrize("status", [422, 500, 504])
async def test_other_answers_are_not_tried_again(status):
    async with balanced(status, 200) as (proxy, _, replicas):
        assert (await proxy.forward(Request("q", 1))).status == status
        assert [len(replica.asked) for replica in replicas] == [1, 0]


async def test_retries_end_with_the_budget():
    async with balanced(None, 200, budget=RetryBudget(share=0.0, burst=2)) as (proxy, backends, _):
        outcomes = []
        for _ in range(8):
            try:
                outcomes.append((await proxy.forward(Request("q", 1))).status)
            except Unavailable as error:
                outcomes.append(error.message)
        assert proxy.retries == 2
        assert outcomes.count(200) == 8 - outcomes.count("the connection to 1 replica(s) failed")
        assert "the connection to 1 replica(s) failed" in outcomes
        assert backends[0].in_flight == 0


async def test_busy_replicas_leave_half_of_the_budget_for_deaths():
    async with balanced(429, 429, budget=RetryBudget(share=0.0, burst=10)) as (proxy, _, _):
        for _ in range(20):
            assert (await proxy.forward(Request("q", 1))).status == 429
        assert proxy.budget.left == 5


async def test_none_up():
    async with balanced(200) as (proxy, backends, _):
        backends[0].lose()
        with pytest.raises(Unavailable, match="none of 1 replicas is up"):
            await proxy.forward(Request("q", 1))


async def test_ejected_after_five_failures_but_never_the_last():
    async with balanced(500, 200) as (proxy, backends, replicas):
        for _ in range(30):
            await proxy.forward(Request("q", 1))
        assert len(replicas[0].asked) == 5
        assert backends[0].stats()["ejected"] is True
        backends[1].lose()
        assert (await proxy.forward(Request("q", 1))).status == 500


async def test_what_waits_on_a_lost_replica_goes_elsewhere():
    async with balanced("slow", 200) as (proxy, backends, replicas):
        waiting = [asyncio.create_task(proxy.forward(Request(f"q{number}", 1))) for number in range(6)]
        await eventually(lambda: len(replicas[0].asked) == 3)
        assert backends[0].in_flight == 3
        backends[0].lose()
        answers = await asyncio.gather(*waiting)
        assert {answer.replica for answer in answers} == {"replica-1"}
        assert len(replicas[1].asked) == 6


async def test_a_client_that_leaves_leaves_no_count():
    async with balanced("slow") as (proxy, backends, replicas):
        waiting = [asyncio.create_task(proxy.forward(Request("q", 1))) for _ in range(9)]
        await eventually(lambda: len(replicas[0].asked) == 9)
        for task in waiting[::3]:
            task.cancel()
        await asyncio.gather(*waiting[::3], return_exceptions=True)
        assert backends[0].in_flight == 6
        assert backends[0].codes["failed"] == 0, "the client left, the replica did nothing wrong"
        replicas[0].release.set()
        await asyncio.gather(*(task for task in waiting if not task.done()))


async def test_cancelled_before_it_began():
    async with balanced("slow") as (proxy, backends, _):
        task = asyncio.create_task(proxy.forward(Request("q", 1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert backends[0].in_flight == 0
