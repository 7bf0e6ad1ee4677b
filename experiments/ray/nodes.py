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

AFTER_S, SECONDS = 5.0, 40.0
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
    """Takes a node away once there has been load for a while, and gives another one after `away_s`."""

    def __init__(self, directory: Path, cluster: Any, node: Any, away_s: float) -> None:
        super().__init__(daemon=True)
        self.directory, self.cluster, self.node, self.away_s = directory, cluster, node, away_s
        self.at: float | None = None

    def run(self) -> None:
        log = self.directory / "loadtest.log"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        time.sleep(AFTER_S)
        self.at = time.time()
        self.cluster.remove_node(self.node, allow_graceful=False)
        time.sleep(self.away_s)
        self.cluster.add_node(num_cpus=1)


def state(address: str) -> dict[str, Any]:
    """What somebody who joins the cluster sees."""
    argv = [sys.executable, "-c", STATE, address]
    ended = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def lost(directory: Path, common: tuple[str, ...], composed: Callable[..., dict[str, Any]]) -> str:
    """Markdown; `nodes.json` beside it."""
    from ray.cluster_utils import Cluster

    place = directory / "nodes"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        killer = Killer(place, cluster, nodes[1], away_s=2.0)
        words = (word for word in common if "duration" not in word)
        plain = composed(*words, *LOAD, f"server.address={cluster.address}")
        killer.start()
        list(ServingBenchmark(plain, place).measure())
        killer.join()
        found = {**seen(place, killer.at or time.time(), 2), **state(cluster.address)}
    except Exception as error:
        found = {"error": one_line(error)}
    finally:
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
        f"Afterwards: {found.get('nodes')} nodes, applications {found.get('applications')}. {found.get('error', '')}",
    ]
    print("\n".join(lines), flush=True)
    return "\n".join([*lines, ""])
