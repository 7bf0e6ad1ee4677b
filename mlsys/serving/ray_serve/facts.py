"""How Ray was set while it served, for the record: what Ray itself took, not what it was asked for."""

from __future__ import annotations

import ray
from ray import serve
from ray.serve._private import constants

from mlsys.record import Scalar
from mlsys.serving.modes.ray import RayServe

TAKEN = {
    "throughput_optimized": "RAY_SERVE_THROUGHPUT_OPTIMIZED",
    "haproxy": "RAY_SERVE_ENABLE_HA_PROXY",
    "direct_ingress": "RAY_SERVE_ENABLE_DIRECT_INGRESS",
    "grpc": "RAY_SERVE_USE_GRPC_BY_DEFAULT",
    "user_code_in_separate_thread": "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD",
    "router_in_separate_loop": "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP",
}


def of_ray(options: RayServe) -> dict[str, Scalar]:
    """Read in a replica. A setting that this version of Ray does not have is None."""
    deployment = serve.get_replica_context()._deployment_config
    router = deployment.request_router_config.request_router_class
    return {
        "ray.version": ray.__version__,
        "ray.max_ongoing_requests": deployment.max_ongoing_requests,
        "ray.max_queued_requests": deployment.max_queued_requests,
        "ray.router": str(router).replace(":", ".").rpartition(".")[2],
        "ray.batcher": options.batcher,
        **{f"ray.{name}": getattr(constants, constant, None) for name, constant in TAKEN.items()},
    }
