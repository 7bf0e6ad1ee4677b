from __future__ import annotations

import asyncio

from mlsys import defaults, signatures
from mlsys.serving.balancer.backend import Backend


async def test_a_lost_replicas_requests_go_elsewhere_in_the_order_in_which_they_came() -> None:
    backend = Backend("a", None, signatures.make("server", defaults.section("server", "lb")))
    left: list[int] = []

    async def asked(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            left.append(number)

    calls = [asyncio.create_task(asked(number)) for number in range(50)]
    for call in reversed(calls):
        backend.take(call)
    await asyncio.sleep(0)
    backend.lose()
    await asyncio.gather(*calls, return_exceptions=True)
    assert left == list(reversed(range(50)))
    assert backend.in_flight == 0
