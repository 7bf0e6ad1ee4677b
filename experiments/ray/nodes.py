"""A node of a Ray cluster killed under served load, and what of the cluster is as it was when the service has gone.

Two nodes of one core each beside a head that runs no replica, all on this machine (Ray's cluster utility). The service
joins by `server.address`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kills import CLIENTS, seen

from mlsys.errors import one_line
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.children import environment
from mlsys.serving.process import ChildProcess

AFTER_S, AWAY_S, SECONDS, GONE_S = 5.0, 2.0, 40.0, 60.0
LOAD = (
    *("server=ray", "server.replicas=2", "generator=simulated", "generator.base_ms=100"),
    *("generator.per_token_ms=0", "loadtest=closed", f"loadtest.concurrency={CLIENTS}"),
    *(f"loadtest.duration_s={SECONDS:g}", "loadtest.timeout_s=20"),
)
STATE = """
import json, sys, ray
from ray import serve
ray.init(address=sys.argv[1], logging_level="error")
alive = sum(node["Alive"] for node in ray.nodes())
try:
    applications = sorted(serve.status().applications)
except Exception:
    applications = []
print(json.dumps({"nodes": alive, "applications": applications}))
"""


class Killer(threading.Thread):
    """Takes a node away once there has been load for a while, and starts another one after a moment."""

    def __init__(self, directory: Path, cluster: Any, node: Any, another: ChildProcess) -> None:
        super().__init__(daemon=True)
        self.directory, self.cluster, self.node, self.another = directory, cluster, node, another
        self.at: float | None = None

    def run(self) -> None:
        log = self.directory / "loadtest.log"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        time.sleep(AFTER_S)
        self.at = time.time()
        self.cluster.remove_node(self.node, allow_graceful=False)
        time.sleep(AWAY_S)
        self.another.start()


def state(address: str) -> dict[str, Any]:
    """What somebody who joins the cluster sees."""
    argv = [sys.executable, "-c", STATE, address]
    ended = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def left(address: str) -> dict[str, Any]:
    """The same, once the application has gone, and how long that took."""
    began = time.monotonic()
    while (found := state(address))["applications"] and time.monotonic() < began + GONE_S:
        time.sleep(0.5)
    return {**found, "gone_s": time.monotonic() - began}


def lost(directory: Path, common: tuple[str, ...], composed: Callable[..., dict[str, Any]]) -> str:
    """Markdown; `nodes.json` beside it."""
    from ray.cluster_utils import Cluster

    place = directory / "nodes"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray = Path(sys.executable).with_name("ray")  # a thread cannot start a node by the cluster's own way
    argv = [str(ray), "start", f"--address={cluster.address}", "--num-cpus=1", "--block"]
    another = ChildProcess(argv, environment(), directory / "another.log")
    killer: Killer | None = None
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        killer = Killer(place, cluster, nodes[1], another)
        words = (word for word in common if "duration" not in word)
        plain = composed(*words, *LOAD, f"server.address={cluster.address}")
        killer.start()
        list(ServingBenchmark(plain, place).measure())
        killer.join()
        found = {**seen(place, killer.at or time.time(), 2), **left(cluster.address)}
    except Exception as error:
        found = {"error": one_line(error)}
    finally:
        if killer is not None and killer.at is not None:
            another.kill()
        cluster.shutdown()
    (directory / "nodes.json").write_text(json.dumps(found, indent=1) + "\n")
    names = ("requests", "lost", "last_lost_s", "longest_silence_s", "whole_s")
    shown = ("-" if (value := found.get(name)) is None else f"{value:.4g}" for name in names)
    lines = [
        f"**A node killed under load** ({CLIENTS} clients, 100 ms a batch, a replica on each of two nodes)",
        "",
        "| requests | lost | last loss, s | longest silence, s | whole again, s |",
        "|---" * 5 + "|",
        "| " + " | ".join(shown) + " |",
        "",
        found.get("error")
        or f"{found['gone_s']:.0f} s after the service: {found['nodes']} nodes, applications {found['applications']}.",
    ]
    print("\n".join(lines), flush=True)
    return "\n".join([*lines, ""])
