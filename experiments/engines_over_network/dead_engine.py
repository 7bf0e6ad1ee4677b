"""The engine behind a service is killed, or stopped, under load: what clients see, and when it is well again.

    python experiments/engines_over_network/dead_engine.py [--how kill|stop] [--mode continuous] [--clients 20]

`kill`: SIGKILL, and the same engine again at the same port after `--away` seconds. `stop`: SIGSTOP, then SIGCONT: an
engine that keeps its connections and says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from processes import process, started

from mlsys.serving.process import ChildProcess

ENGINE = "server=continuous generator=simulated embedder=hashing corpus=animals"
HANG_S = 120.0  # longer than any time-out of the service: a request that takes so long hangs
PAUSE_S = 0.02  # of a client after a refusal
POLL_S = 0.02


class Clients:
    """Each asks, reads, asks again. `seen`: when each answer came, its status, what it took."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session, self.began = url, session, time.perf_counter()
        self.seen: list[tuple[float, str, float]] = []
        self.words: Counter[str] = Counter()
        self.ended = False

    def now(self) -> float:
        return time.perf_counter() - self.began

    async def run(self) -> None:
        while not self.ended:
            asked = self.now()
            status = await self._ask()
            self.seen.append((self.now(), status, self.now() - asked))
            if status != "200":
                await asyncio.sleep(PAUSE_S)

    async def _ask(self) -> str:
        body = {"query": "What does a cat eat?"}
        try:
            async with asyncio.timeout(HANG_S), self.session.post(f"{self.url}/rag", json=body) as response:
                content = await response.json()
                if response.status != 200:
                    self.words[content["detail"].partition(", for ")[0]] += 1
                return str(response.status)
        except TimeoutError:
            return "hang"
        except aiohttp.ClientError as error:
            return type(error).__name__

    async def until(self, path: str, status: int, since_s: float) -> float:
        """Seconds from `since_s` until a GET is answered so."""
        while True:
            async with self.session.get(self.url + path) as response:
                if response.status == status:
                    return self.now() - since_s
            await asyncio.sleep(POLL_S)


async def measure(
    url: str, engine: ChildProcess, how: str, clients: int, before_s: float, away_s: float
) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = Clients(url, session)
        running = [asyncio.create_task(load.run()) for _ in range(clients)]
        await asyncio.sleep(before_s)
        gone_s = load.now()
        engine.kill() if how == "kill" else engine.signal(signal.SIGSTOP)
        noticed = asyncio.create_task(load.until("/ready", 503, gone_s))
        await asyncio.sleep(away_s)
        noticed_s = noticed.result() if noticed.done() else None
        noticed.cancel()
        if how == "kill":
            await asyncio.to_thread(started, engine)
        else:
            engine.signal(signal.SIGCONT)
        back_s = load.now()
        ready_s = await load.until("/ready", 200, back_s)
        await asyncio.sleep(before_s)
        load.ended = True
        await asyncio.gather(*running)
    return told(load, gone_s, back_s) | {"unready_after_s": noticed_s, "ready_again_after_s": ready_s}


def told(load: Clients, gone_s: float, back_s: float) -> dict[str, Any]:
    """What the clients saw."""
    after = [at for at, status, _ in load.seen if at > back_s and status == "200"]
    bad = [took for _, status, took in load.seen if status != "200"]
    seconds: dict[int, Counter[str]] = {}
    for at, status, _ in load.seen:
        seconds.setdefault(int(at), Counter())[status] += 1
    return {
        "statuses": dict(Counter(status for _, status, _ in load.seen)),
        "words": dict(load.words.most_common(5)),
        "first_failure_after_s": min((at for at, s, _ in load.seen if s != "200"), default=gone_s) - gone_s,
        "longest_failure_s": max(bad, default=0.0),
        "median_failure_s": sorted(bad)[len(bad) // 2] if bad else 0.0,
        "longest_success_s": max((took for _, s, took in load.seen if s == "200"), default=0.0),
        "answers_again_after_s": min(after, default=float("inf")) - back_s,
        "gone_s": gone_s,
        "back_s": back_s,
        "each_second": {second: dict(counts) for second, counts in sorted(seconds.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    parser.add_argument("--mode", default="continuous")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--before", type=float, default=5.0, help="seconds of load before, and after")
    parser.add_argument("--away", type=float, default=10.0, help="seconds without the engine")
    parser.add_argument("--engine", default=ENGINE, help="the engine, as for run.py")
    parser.add_argument("--directory", type=Path, default=Path("outputs/dead_engine"))
    given, overrides = parser.parse_known_args()
    directory = given.directory.resolve()
    engine = process(directory, "engine", *shlex.split(given.engine))
    url = started(engine)
    port = url.rpartition(":")[2]
    name = next(word.partition("=")[2] for word in given.engine.split() if word.startswith("generator="))
    service = process(
        directory, "service", f"server={given.mode}", "generator=openai", f"generator.url={url}",
        f"generator.model={name}", "generator.timeout_ms=3000", *overrides,
    )  # fmt: skip
    try:
        address = started(service)
        again = process(directory, "engine", *shlex.split(given.engine), f"server.port={port}")
        engine.argv = again.argv
        found = asyncio.run(measure(address, engine, given.how, given.clients, given.before, given.away))
    finally:
        engine.signal(signal.SIGCONT)
        service.terminate(10)
        engine.terminate(10)
    (directory / f"{given.how}-{given.mode}.json").write_text(json.dumps(found, indent=1) + "\n")
    seconds = found.pop("each_second")
    print(json.dumps(found, indent=1))
    print(*(f"second {second}: {json.dumps(counts)}" for second, counts in seconds.items()), sep="\n")


if __name__ == "__main__":
    main()
