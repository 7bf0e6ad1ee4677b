"""The same engine behind Ray Serve's `@serve.batch`: `python with_ray.py SERVER.yaml --port 8102`, until Ctrl-C.

The engine runs in a thread, so that requests go on coming in while it works.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
from engine import HOST, Engine, arguments
from ray import serve


def deployment(size: int, window_s: float) -> Any:
    """One replica; batches of `size` within `window_s`."""

    @serve.deployment(num_replicas=1, max_ongoing_requests=1000)
    class Rag:
        def __init__(self, config: dict[str, Any]) -> None:
            self.engine = Engine(config)

        @serve.batch(max_batch_size=size, batch_wait_timeout_s=window_s)
        async def answer(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return await asyncio.to_thread(self.engine, bodies)

        async def __call__(self, request: Any) -> dict[str, Any]:
            return await self.answer(await request.json())

    return Rag


if __name__ == "__main__":
    config, port = arguments()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    path = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, sys.path)])
    threads = {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"], "PYTHONPATH": path}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": threads})
    serve.start(http_options={"host": HOST, "port": port})
    batching = config["batching"]
    serve.run(
        deployment(batching["max_size"], batching["timeout_ms"] / 1e3).bind(config), route_prefix="/rag"
    )
    print(f"serving on http://{HOST}:{port}", flush=True)
    while True:
        time.sleep(1)
