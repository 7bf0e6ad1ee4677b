"""What a change to the code must not change: a digest of each of many small simulations.

    python experiments/virtual/digests.py > before.txt   # in a checkout of the code as it was
    python experiments/virtual/digests.py > after.txt    # in the one with the change
    diff before.txt after.txt

A digest is over everything that the levels of a simulation say, to the last bit. About a minute on one core.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

from plans import ASKED, During, configuration, killed

from mlsys import defaults
from mlsys.virtual.benchmark import digest
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.simulate import simulate

POLICIES = ("round_robin", "least_in_flight", "power_of_two", "peak_ewma", "staggered", "prefix_affinity")
MODES = ("baseline", "queue", "batch", "continuous")
Scenario = tuple[str, dict[str, Any], During | None]


def held(hosts_s: float) -> During:
    """One replica stands still for so long."""

    async def during(hosts: VirtualHosts) -> None:
        await asyncio.sleep(1.0)
        name = next(iter(hosts.processes))
        hosts.processes[name].signal(signal.SIGSTOP)
        await asyncio.sleep(hosts_s)
        hosts.processes[name].signal(signal.SIGCONT)

    return during


def made(policy: str = "least_in_flight", rate: float = 400.0, **sections: dict[str, Any]) -> dict[str, Any]:
    """Ten replicas behind a balancer; a section changes some knobs, or is another option's."""
    config = configuration(policy, 10, rate, 2_000)
    for group, knobs in sections.items():
        config[group] = knobs if "_target_" in knobs else config.get(group, {}) | knobs
    return config


def loaded(mode: str, load: str, **knobs: Any) -> dict[str, Any]:
    """One service without a balancer."""
    config = made(
        loadtest=defaults.section("loadtest", load) | {"requests": 1_000, "warmup_requests": 50} | knobs
    )
    return config | {"server": defaults.section("server", mode)}


def scenarios() -> Iterator[Scenario]:
    """Name, configuration, and what happens meanwhile."""
    costs = {"loop_ms": 0.3, "balancer_ms": 0.1, "client_ms": 0.2, "dispatch_ms": 0.05, "request_ms": 0.7}
    for policy in POLICIES:
        yield f"balancer={policy}", made(policy), None
        yield f"balancer={policy} overloaded", made(policy, 8_000.0), None
    yield "one killed after the other", made(cost={"start_s": 2.0}), killed(0.4)
    yield "one held", made(), held(3.0)
    yield "one held, streamed", made(loadtest={"stream": True}), held(3.0)
    yield "limits of time", made(rate=2_500.0, server={"default_timeout_ms": 40.0}), None
    yield "impatient clients", made(rate=2_500.0, loadtest={"timeout_s": 0.035}), None
    yield "costs beside the engine", made(cost=costs), None
    yield (
        "a closed loop of replicas",
        made(loadtest=defaults.section("loadtest", "closed") | {"concurrency": 64, "requests": 2_000}),
        None,
    )
    for replica in MODES:
        yield f"server.replica={replica}", made(server={"replica": replica}), None
        yield f"server={replica} poisson", loaded(replica, "poisson", request_rate=30.0), None
        yield f"server={replica} closed", loaded(replica, "closed", concurrency=16), None
        yield (
            f"server={replica} closed, costs",
            loaded(replica, "closed", concurrency=16) | {"cost": costs},
            None,
        )
        yield f"server={replica} streamed", loaded(replica, "poisson", request_rate=25.0, stream=True), None
    yield (
        "batching=slo",
        loaded("batch", "poisson", request_rate=600.0) | {"batching": defaults.section("batching", "slo")},
        None,
    )


def main() -> None:
    """See the module."""
    for name, config, during in scenarios():
        print(f"{digest(simulate(config, ASKED, during))[:16]}  {name}", flush=True)


if __name__ == "__main__":
    main()
