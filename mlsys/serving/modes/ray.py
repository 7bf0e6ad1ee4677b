"""`server=ray`: the pipeline as a Ray Serve application.

Ray starts and watches the replicas and sends each request to one of them. The door is ours and stands in each replica:
the same HTTP application as in every other mode, with its key, its bounded queue, its deadlines and its errors. Behind
it one of our modes answers, or Ray's own batcher feeds the pipeline, so that the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys import defaults, extras, signatures
from mlsys.errors import UserError
from mlsys.serving.balancer.options import is_replica, replica_options
from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server, above, at_least

BATCHERS, ROUTERS, PROXIES = (
    ("mlsys", "ray"),
    ("ray", "round_robin", "session", "balancer"),
    ("http", "haproxy"),
)
DELAYS = {"up_after_s": "upscale_delay_s", "down_after_s": "downscale_delay_s"}  # as Ray calls them
SPARE = 32  # calls beside requests: health, /stats, vectors, and requests that are being refused
WAITS = {"hybrid": "timeout_ms", "time": "timeout_ms", "size": "max_wait_ms"}


@dataclass
class RayServe(Server):
    """What `conf/server/ray.yaml` explains."""

    starts_replicas = True

    address: str | None
    app: str
    batcher: str
    replica: str
    router: str
    proxy: str
    replicas: int
    autoscaling: dict[str, Any]
    num_cpus: float
    num_gpus: float | None
    max_ongoing_requests: int | None
    throughput_optimized: bool
    check_interval_s: float
    check_timeout_s: float
    start_timeout_s: float
    export: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if line := extras.absent("ray"):
            raise UserError(line)
        _one_of("batcher", self.batcher, BATCHERS)
        _one_of("router", self.router, ROUTERS)
        _one_of("proxy", self.proxy, PROXIES)
        if self.proxy == "haproxy" and self.router != "ray":
            raise UserError(
                f"server.router={self.router} is asked by server.proxy=http; HAProxy chooses by itself"
            )
        _one_of("replica", self.replica, [m for m in defaults.options("server") if is_replica(m)])
        if self.engine_process:
            raise UserError("server.engine_process=true: Ray starts the processes of server=ray")
        at_least("server.replicas", self.replicas, 1)
        at_least("server.max_ongoing_requests", self.max_ongoing_requests, 1)
        at_least("server.num_cpus", self.num_cpus, 0)
        at_least("server.num_gpus", self.num_gpus, 0)
        for knob in ("check_interval_s", "check_timeout_s", "start_timeout_s"):
            above(f"server.{knob}", getattr(self, knob), 0)
        if not self.app or "/" in self.app or "#" in self.app:
            raise UserError(f"server.app={self.app} is no name for an application")
        if self.export is not None and Path(self.export).suffix not in (".yaml", ".yml"):
            raise UserError(f"server.export={self.export} is no YAML file's name")
        self._check_autoscaling()

    def _check_autoscaling(self) -> None:
        scaling = self.autoscaling
        if not {"min", "max", "target"} <= set(scaling) <= {"min", "max", "target", *DELAYS}:
            known = f"min, max, target, {' and '.join(DELAYS)}"
            raise UserError(f"server.autoscaling has {known}, not {', '.join(map(str, scaling))}")
        for knob, value in scaling.items():
            kinds = (int,) if knob in ("min", "max") else (int, float)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise UserError(f"server.autoscaling.{knob}={value} must be a number or null")
        if scaling["max"] is None:
            if given := [knob for knob, value in scaling.items() if value is not None]:
                raise UserError(
                    f"server.autoscaling.{given[0]}={scaling[given[0]]} needs server.autoscaling.max"
                )
            return
        at_least("server.autoscaling.min", scaling["min"], 1)
        at_least("server.autoscaling.max", scaling["max"], scaling["min"] or 1)
        above("server.autoscaling.target", scaling["target"], 0)
        for knob in DELAYS:
            at_least(f"server.autoscaling.{knob}", scaling.get(knob), 0)

    @property
    def most_replicas(self) -> int:
        """How many replicas there can be."""
        most = self.autoscaling["max"]
        return self.replicas if most is None else int(most)

    def inner(self, parts: Parts, index: int) -> Service:
        """What answers in replica `index`, behind its door."""
        own = replica_options(self, index)
        if self.batcher == "mlsys":
            mode = signatures.make("server", own)
            service: Service = mode.service(parts)
            return service
        from mlsys.serving.ray_serve.batched import Batched

        size, wait_s = ray_batches(parts.config["batching"])
        return Batched(signatures.make("server", own), parts.pipeline(), size, wait_s)

    def run(self, parts: Parts) -> int:
        """Put the application on Ray, watch it, take it away. Returns the exit status."""
        from mlsys.serving.ray_serve import hosting

        return hosting.run(self, parts)


def ray_batches(batching: dict[str, Any]) -> tuple[int, float]:
    """`max_batch_size` and `batch_wait_timeout_s` of `@serve.batch`. Raises UserError for what it does not have."""
    name = batching["name"]
    if name not in WAITS:
        raise UserError(
            f"server.batcher=ray has a size and a wait: batching={name} needs server.batcher=mlsys"
        )
    if batching.get("max_padded_tokens") is not None:
        raise UserError(
            f"batching.max_padded_tokens={batching['max_padded_tokens']} needs server.batcher=mlsys"
        )
    return int(batching["max_size"]), float(batching[WAITS[name]]) / 1000


def together(options: RayServe, config: dict[str, Any]) -> int:
    """How many requests a replica can answer at the same time."""
    if options.batcher == "mlsys" and options.replica == "continuous":
        return int(config["scheduling"].get("slots") or options.max_queue)
    return int(config["batching"]["max_size"])


def ongoing(options: RayServe, config: dict[str, Any]) -> int:
    """Ray's `max_ongoing_requests`: above what a replica's line and batch hold, so that its door refuses, not Ray."""
    return options.max_ongoing_requests or options.max_queue + together(options, config) + SPARE


def _one_of(knob: str, value: str, known: Any) -> None:
    if value not in known:
        raise UserError(f"server.{knob}={value} is none of {', '.join(known)}")
