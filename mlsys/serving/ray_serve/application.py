"""The Ray Serve application of a configuration: what Ray is told of replicas, limits, scaling and routing.

`build` is what a serve config file names as `import_path`, with the configuration as its `args`.
"""

from __future__ import annotations

from typing import Any

from ray import serve

from mlsys import keys, signatures
from mlsys.errors import UserError
from mlsys.serving.balancer import Affine, Timing
from mlsys.serving.modes.ray import DELAYS, RayServe, ongoing, together

IMPORT_PATH = "mlsys.serving.ray_serve.application:build"
DEPLOYMENT = "Pipeline"
HEALTH_LOOP_S = 0.1
ROUTED = 1024  # requests on their way to a replica: beyond that Ray refuses, before it the replicas' doors do
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ROUTERS = {
    "round_robin": "ray.serve.experimental.round_robin_router:RoundRobinRouter",
    "session": "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter",
    "balancer": "mlsys.serving.ray_serve.router:PolicyRouter",
}


def build(config: dict[str, Any]) -> serve.Application:
    """The application, not yet deployed."""
    from mlsys.serving.ray_serve.replica import Replica

    options: RayServe = signatures.make("server", config["server"])
    ingress = serve.ingress()(Replica)
    deployment = serve.deployment(ingress, name=DEPLOYMENT).options(**settings(options, config))
    return deployment.bind(config)


def settings(options: RayServe, config: dict[str, Any]) -> dict[str, Any]:
    """The deployment's options under Ray's names, plain values."""
    scaling = options.autoscaling
    found: dict[str, Any] = {
        "max_ongoing_requests": ongoing(options, config),
        "max_queued_requests": ROUTED,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "health_check_period_s": options.check_interval_s,
        "health_check_timeout_s": options.check_timeout_s,
        "graceful_shutdown_wait_loop_s": HEALTH_LOOP_S,
        "graceful_shutdown_timeout_s": options.drain_timeout_s,
        "max_constructor_retry_count": 1,
        "ray_actor_options": actor(options),
    }
    if options.router != "ray":
        found["request_router_config"] = router(options, config)
    if scaling["max"] is None:
        return {**found, "num_replicas": options.replicas}
    least = scaling["min"] or 1
    return {
        **found,
        "autoscaling_config": {
            "min_replicas": least,
            "initial_replicas": min(max(options.replicas, least), scaling["max"]),
            "max_replicas": scaling["max"],
            "target_ongoing_requests": scaling["target"] or float(together(options, config)),
            **{rays: float(scaling[ours]) for ours, rays in DELAYS.items() if scaling.get(ours) is not None},
        },
    }


def router(options: RayServe, config: dict[str, Any]) -> dict[str, Any]:
    """Ray's `request_router_config`, plain values. Raises UserError for a policy that looks at questions or answers."""
    name, unseen = config["balancer"]["name"], {Affine: "a question", Timing: "how long an answer took"}
    policy = signatures.make("balancer", config["balancer"]) if options.router == "balancer" else None
    for kind, what in unseen.items():
        if isinstance(policy, kind):
            raise UserError(
                f"server.router=balancer: Ray's routers do not see {what}, balancer={name} needs server=lb"
            )
    knobs = {"section": config["balancer"]} if options.router == "balancer" else {}
    return {"request_router_class": ROUTERS[options.router], "request_router_kwargs": knobs}


def actor(options: RayServe) -> dict[str, Any]:
    """What Ray sets aside for a replica, and the environment that it starts in."""
    variables = dict.fromkeys(THREADS, str(options.threads))
    if options.address is not None and (options.api_key or "").startswith(
        "env:"
    ):  # a cluster's nodes do not know ours
        variables[str(options.api_key).removeprefix("env:")] = keys.read(options.api_key) or ""
    return {
        "num_cpus": options.num_cpus,
        "num_gpus": options.num_gpus or 0,
        "runtime_env": {"env_vars": variables},
    }
