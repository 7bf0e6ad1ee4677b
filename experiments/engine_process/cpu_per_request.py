"""Processor time of a request, by process: python experiments/engine_process/cpu_per_request.py [overrides]

The engine is simulated: it sleeps instead of computing, so what is left is the way from its tokens to the socket. One
process and two take turns. What bounds a service is its busiest process: `bound_rps` is what that one could do alone.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from hydra import compose, initialize_config_dir

from mlsys.defaults import conf
from mlsys.loadtest import service
from mlsys.run import config

ROUNDS, REQUESTS, WARMUP, CLIENTS = 3, 4000, 300, 128
SETTINGS = [
    "corpus=animals", "embedder=hashing", "generator=simulated", "generator.base_ms=0", "generator.per_request_ms=0",
    "generator.per_token_ms=0.5", "generator.max_new_tokens=64", "batching.max_size=128", "server.max_queue=256",
    "device=cpu", "tracking=off",
]  # fmt: skip


async def drive(url: str, stream: bool, count: int) -> float:
    """Seconds that `count` requests of all clients take."""
    left = iter(range(count))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in left:
            body = {"query": f"What does a cat eat on day {number}?", "stream": stream}
            async with session.post(f"{url}/rag", json=body) as response:
                response.raise_for_status()
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
        return time.perf_counter() - started


def measured(plain: dict[str, Any], stream: bool) -> tuple[float, list[float]]:
    """Requests a second, and milliseconds of processor a request in each process."""
    with tempfile.TemporaryDirectory() as directory, service.running(plain, Path(directory)) as target:
        if target.process is None:
            raise RuntimeError("the service is not ours")
        first = psutil.Process(target.process.pid)
        processes = [first, *first.children(recursive=True)]
        asyncio.run(drive(target.url, stream, WARMUP))
        before = [sum(process.cpu_times()[:2]) for process in processes]
        seconds = asyncio.run(drive(target.url, stream, REQUESTS))
        after = [sum(process.cpu_times()[:2]) for process in processes]
    return REQUESTS / seconds, [1e3 * (b - a) / REQUESTS for a, b in zip(before, after, strict=True)]


def main() -> None:
    config.register()
    print("server      answers  processes  requests/s  ms a request by process  bound_rps")
    with initialize_config_dir(str(conf()), version_base="1.3"):
        for mode, stream in itertools.product(("continuous", "batch"), (False, True)):
            found: dict[bool, list[tuple[float, list[float]]]] = {False: [], True: []}
            for _, apart in itertools.product(range(ROUNDS), found):
                words = [
                    *SETTINGS,
                    f"server={mode}",
                    f"server.engine_process={str(apart).lower()}",
                    *sys.argv[1:],
                ]
                found[apart].append(measured(config.resolved(compose("config", words)), stream))
            for apart, runs in found.items():
                rate = statistics.median(rate for rate, _ in runs)
                each = [statistics.median(times) for times in zip(*(times for _, times in runs), strict=True)]
                shown = " + ".join(f"{ms:.3f}" for ms in each)
                print(
                    f"{mode:11} {'stream' if stream else 'whole':8} {'two' if apart else 'one':9}"
                    f" {rate:11.0f}  {shown:>23} {1e3 / max(each):10.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
