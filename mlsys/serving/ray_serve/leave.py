"""Leaves a cluster as it was: `python -m mlsys.serving.ray_serve.leave ADDRESS APP [serve]`.

The application is deleted; with `serve` Ray Serve itself is shut down as well, if nobody else uses it by now. The
service does so in its end, and its warden where the service was killed.
"""

from __future__ import annotations

import os
import sys


def connect(address: str) -> None:
    """Raises what `ray.init` raises where there is no cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="warning", namespace="serve")


def routes() -> dict[str, str | None] | None:
    """Each application's route; None where Ray Serve does not run."""
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    applications = client.get_serve_details()["applications"]
    return {name: told["route_prefix"] for name, told in applications.items()}


def leave(app: str, serve_too: bool) -> None:
    """Delete `app`, if it is there."""
    from ray import serve

    known = routes()
    if known is None:
        return
    if app in known:
        serve.delete(app)
    if serve_too and not (routes() or {}):
        serve.shutdown()


if __name__ == "__main__":
    connect(sys.argv[1])
    leave(sys.argv[2], len(sys.argv) > 3)
