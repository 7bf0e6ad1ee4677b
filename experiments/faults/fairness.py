"""Two keys under overload, one with ten times the clients: what the other gets with `server.fair_keys` and without.

    python experiments/faults/fairness.py [--seconds 8] [--only batch] [--directory DIR]

Each service can answer about 130 requests a second (simulated engine). The polite key has 4 clients, the greedy one 40;
each asks, waits, and asks again, 20 ms after a refusal. The first row of a service is the polite key alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from hydra import compose, initialize_config_dir

from mlsys.defaults import ROOT
from mlsys.loadtest import service
from mlsys.run import config

COMMON = (
    *("corpus=animals", "embedder=hashing", "generator=simulated", "generator.max_new_tokens=1"),
    *("generator.base_ms=60", "generator.per_token_ms=0", "batching.max_size=8", "scheduling.slots=8"),
    *("tracking=off", "server.max_queue=16"),
)
SERVICES: dict[str, tuple[str, ...]] = {
    "batch": ("server=batch",),
    "lb, 2 replicas": ("server=lb", "server.replicas=2", "batching.max_size=4"),
    "continuous, fcfs": ("server=continuous",),
    "continuous, fair": ("server=continuous", "scheduling=fair"),
}
POLITE, GREEDY, PAUSE_S, WARM_S = 4, 40, 0.02, 1.0
HEADS = (
    "service",
    "fair_keys",
    "polite, req/s",
    "p50, ms",
    "p95, ms",
    "polite 429",
    "greedy, req/s",
    "p95, ms",
)
HEADS += ("greedy 429", "other")


class Key:
    """The clients of one key. `ended`: of each request when it ended, its status, and what it took."""

    def __init__(self, url: str, key: str, clients: int) -> None:
        self.url, self.key, self.clients = url, key, clients
        self.ended: list[tuple[float, int, float]] = []

    async def run(self, session: aiohttp.ClientSession, until: float) -> None:
        await asyncio.gather(*(self._one(session, until) for _ in range(self.clients)))

    async def _one(self, session: aiohttp.ClientSession, until: float) -> None:
        head, body = {"Authorization": f"Bearer {self.key}"}, {"query": "What does a cat eat?"}
        while (asked := time.perf_counter()) < until:
            async with session.post(f"{self.url}/rag", json=body, headers=head) as response:
                await response.read()
            self.ended.append((time.perf_counter(), response.status, time.perf_counter() - asked))
            if response.status != 200:
                await asyncio.sleep(PAUSE_S)

    def seen(self, since: float, until: float) -> dict[str, Any]:
        """Of what ended in this span."""
        ended = [one for one in self.ended if since <= one[0] < until]
        statuses = Counter(status for _, status, _ in ended)
        took_ms = [1e3 * took for _, status, took in ended if status == 200]
        p50, p95 = np.percentile(took_ms, [50, 95]).tolist() if took_ms else (None, None)
        answered, refused = statuses.pop(200, 0), statuses.pop(429, 0)
        rate = answered / (until - since)
        return {"rps": rate, "p50_ms": p50, "p95_ms": p95, "refused": refused, "other": statuses.total()}


async def loaded(url: str, greedy: int, seconds: float) -> dict[str, dict[str, Any]]:
    keys = {"polite": Key(url, "polite", POLITE), "greedy": Key(url, "greedy", greedy)}
    since = time.perf_counter() + WARM_S
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(key.run(session, since + seconds) for key in keys.values()))
    return {name: key.seen(since, since + seconds) for name, key in keys.items()}


def measured(name: str, fair: bool, greedy: int, seconds: float, directory: Path) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "keys"
    path.write_text("operator\npolite\ngreedy\n")
    words = (*COMMON, *SERVICES[name], f"server.fair_keys={str(fair).lower()}", f"server.api_key=file:{path}")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = config.resolved(compose("config", list(words)))
    with service.running(plain, directory) as target:
        return {"service": name, "fair_keys": fair, **asyncio.run(loaded(target.url, greedy, seconds))}


def line(row: dict[str, Any], alone: bool) -> str:
    polite, greedy = row["polite"], row["greedy"]
    cells = [row["service"], "polite alone" if alone else str(row["fair_keys"]).lower()]
    cells += [_shown(polite[name]) for name in ("rps", "p50_ms", "p95_ms", "refused")]
    cells += ["", "", ""] if alone else [_shown(greedy[name]) for name in ("rps", "p95_ms", "refused")]
    return "| " + " | ".join([*cells, _shown(polite["other"] + greedy["other"])]) + " |"


def _shown(value: float | None) -> str:
    return (
        "-"
        if value is None
        else f"{value:.1f}"
        if isinstance(value, float) and value < 100
        else f"{value:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each row, after one to warm up")
    parser.add_argument("--only", nargs="*", default=list(SERVICES), help="services, by name")
    parser.add_argument("--directory", type=Path, default=Path("outputs/faults/fairness"))
    given = parser.parse_args()
    config.register()
    directory: Path = given.directory.resolve()
    rows = []
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    for name in given.only:
        for fair, greedy in ((True, 0), (False, GREEDY), (True, GREEDY)):
            place = directory / f"{name.replace(', ', '-').replace(' ', '-')}-{fair}-{greedy}"
            rows.append(measured(name, fair, greedy, given.seconds, place))
            print(line(rows[-1], not greedy), flush=True)
    (directory / "fairness.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
