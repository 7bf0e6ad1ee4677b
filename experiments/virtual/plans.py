"""Plans past one machine, in virtual time: policies, failures, rolling restarts, and what a choice among many costs.

    python experiments/virtual/plans.py OUT           about eleven minutes on one quiet core
    python experiments/virtual/plans.py OUT --quick   a hundredth of the requests, to see that it works
    python experiments/virtual/plans.py OUT --balancer staggered   the plans of one policy, and no choices

Writes `OUT/plans.csv` (one row a simulation) and `OUT/choices.csv` (CPU time of one choice, by policy and replicas).
The replicas batch, with a cost of α·b + τ0 = b + 21 ms, so that one can do about 580 requests/s.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pandas as pd

from mlsys import defaults, signatures
from mlsys.loadtest.questions import Question
from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.request import Request
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.renewed import renewed
from mlsys.virtual.simulate import simulate

POLICIES = ("round_robin", "least_in_flight", "power_of_two", "staggered", "prefix_affinity")
ASKED = [Question(number, f"question {number}?", None) for number in range(1000)]
BASE_MS, EACH_MS = 21.0, 1.0  # of a batch, and of each request in it
START_S = 20.0
CHOICES = 300
During = Callable[[VirtualHosts], Coroutine[Any, Any, None]]
Plan = tuple[str, str, int, float, int, During | None]


def configuration(policy: str, replicas: int, rate: float, requests: int) -> dict[str, Any]:
    """Replicas that batch, behind a balancer."""
    config = renewed({"server": {"name": "lb", "replicas": replicas, "replica": "batch"}})
    config["balancer"] = defaults.section("balancer", policy)
    config["batching"] |= {"timeout_ms": 0.0, "linger_ms": 0.0, "max_size": 64}
    if policy == "staggered":
        config["balancer"]["slot_ms"] = slot_ms(replicas, rate)
        window = {"max_size": 64, "timeout_ms": config["balancer"]["slot_ms"]}
        config["batching"] = defaults.section("batching", "time") | window
    config["generator"] |= {
        "base_ms": BASE_MS,
        "per_request_ms": EACH_MS,
        "per_token_ms": 0.0,
        "max_new_tokens": 1,
    }
    config["corpus"] = defaults.section("corpus", "animals")
    load = {"name": "poisson", "request_rate": rate, "requests": requests, "warmup_requests": requests // 10}
    config["loadtest"] = defaults.section("loadtest", "poisson") | load
    return config | {"embedder": {"name": "none"}}


def slot_ms(replicas: int, rate: float) -> float:
    """A slot in which as many come as the replica can answer until its next one: the batch's time over the replicas."""
    return BASE_MS / (replicas - EACH_MS * rate / 1e3)


def killed(every_s: float) -> During:
    """One replica after the other is killed; the balancer starts it again."""

    async def during(hosts: VirtualHosts) -> None:
        for name in list(hosts.processes):
            await asyncio.sleep(every_s)
            hosts.processes[name].signal(signal.SIGKILL)

    return during


def rolling(every_s: float) -> During:
    """Each replica is ended in order and the next only when it is back."""

    async def during(hosts: VirtualHosts) -> None:
        for name in list(hosts.processes):
            await asyncio.sleep(every_s)
            hosts.processes[name].signal(signal.SIGTERM)
            while not hosts.processes[name].ready:
                await asyncio.sleep(0.1)

    return during


def plan(
    name: str, policy: str, replicas: int, rate: float, requests: int, during: During | None = None
) -> dict[str, Any]:
    """One simulation as a row."""
    began = time.process_time()
    config = configuration(policy, replicas, rate, requests)
    if during is not None:
        config["cost"] = {"start_s": START_S}
    (level,) = simulate(config, ASKED, during)
    spent = time.process_time() - began
    wanted = (
        "requests",
        "success_rate",
        "throughput_rps",
        "e2e_ms.p50",
        "e2e_ms.p95",
        "e2e_ms.p99",
        "batch_size.mean",
    )
    row = {"plan": name, "balancer": policy, "replicas": replicas, "rate_rps": rate}
    row |= {figure: level.values.get(figure) for figure in wanted}
    print({**row, "requests_per_cpu_s": round(1.1 * requests / spent)}, flush=True)
    return row | {"requests_per_cpu_s": 1.1 * requests / spent}


def choice_us(policy: str, replicas: int) -> float:
    """CPU time of one choice, in µs: the median of blocks of ten, counts changing meanwhile."""
    options = signatures.make("server", defaults.section("server", "lb"))
    backends = [Backend(f"replica-{number}", "http://a", options) for number in range(replicas)]
    made = signatures.make("balancer", defaults.section("balancer", policy))
    found, counts = Backends(backends, made), []
    requests = [Request(question.text, 2) for question in ASKED[:CHOICES]]
    for start in range(0, CHOICES, 10):
        began = time.process_time()
        for request in requests[start : start + 10]:
            found.choose([], request)
        counts.append(1e5 * (time.process_time() - began))
    return statistics.median(counts[1:])


def write_choices(out: Path) -> None:
    """What a choice among many costs, as `choices.csv` and on the screen."""
    choices = pd.DataFrame(
        {"balancer": policy, "replicas": replicas, "choice_us": choice_us(policy, replicas)}
        for replicas in (3, 100, 1_000, 10_000)
        for policy in POLICIES
    )
    choices.to_csv(out / "choices.csv", index=False)
    wide = choices.pivot(index="replicas", columns="balancer", values="choice_us")
    print(wide.round(1).to_string(), flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=Path("outputs/virtual"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--balancer", choices=POLICIES)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    scale = 0.01 if chosen.quick else 1.0

    def count(requests: int) -> int:
        return int(requests * scale)

    if chosen.balancer is None:
        write_choices(chosen.out)
    plans: list[Plan] = [("a million requests", "least_in_flight", 100, 5_000.0, count(1_000_000), None)]
    plans += [("1e5 requests/s", policy, 1_000, 1e5, count(100_000), None) for policy in POLICIES]
    plans += [("1e5 requests/s", policy, 10_000, 1e5, count(50_000), None) for policy in POLICIES]
    for policy in ("round_robin", "least_in_flight"):
        plans.append(("one killed each 0.5 s", policy, 100, 5_000.0, count(50_000), killed(0.5)))
        plans.append(("rolling restart", policy, 100, 5_000.0, count(50_000), rolling(0.0)))
    rows = [plan(*one) for one in plans if chosen.balancer in (None, one[1])]
    pd.DataFrame(rows).to_csv(chosen.out / "plans.csv", index=False)


if __name__ == "__main__":
    main()
