"""The knobs of `server`, with their types, defaults and limits.

Making one of these objects checks its values, so a mistake is one line before any model loads. Only the
standard library is imported here: the configuration needs it before anything heavy is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from mlsys import keys
from mlsys.errors import UserError
from mlsys.quantities import check_threads

MODES = "mlsys.serving.modes"


def at_least(option: str, value: float | None, minimum: float) -> None:
    """Raise UserError unless `value` is None or a finite number of at least `minimum`."""
    if value is not None and not (math.isfinite(value) and value >= minimum):
        raise UserError(f"{option}={value:g} must be at least {minimum:g}")


def above(option: str, value: float | None, limit: float) -> None:
    """Raise UserError unless `value` is None or a finite number greater than `limit`."""
    if value is not None and not (math.isfinite(value) and value > limit):
        raise UserError(f"{option}={value:g} must be more than {limit:g}")


@dataclass
class Server:
    """What every mode has: address, limits, and how it ends."""

    _target_: str = ""
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 1
    max_queue: int = 128
    max_query_chars: int = 4000
    max_k: int = 20
    max_tokens: int | None = None
    max_body_bytes: int = 65536
    receive_timeout_s: float = 30.0
    max_connections: int = 4096
    default_timeout_ms: float | None = None
    api_key: str | None = None
    jobs_ttl_s: float = 300.0
    jobs_max: int = 1000
    drain_timeout_s: float = 60.0
    stall_timeout_s: float = 120.0
    label: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UserError(f"server.port={self.port} must be between 0 (a free one) and 65535")
        check_threads("server.threads", self.threads)
        for knob in ("max_queue", "max_query_chars", "max_k", "max_tokens", "jobs_max", "max_connections"):
            at_least(f"server.{knob}", getattr(self, knob), 1)
        at_least("server.max_body_bytes", self.max_body_bytes, 64)
        at_least("server.drain_timeout_s", self.drain_timeout_s, 0)
        for knob in ("default_timeout_ms", "jobs_ttl_s", "stall_timeout_s", "receive_timeout_s"):
            above(f"server.{knob}", getattr(self, knob), 0)
        keys.read(self.api_key)

    @property
    def key(self) -> str | None:
        """The key that clients must send, from the environment variable that `api_key` names."""
        return keys.read(self.api_key)


@dataclass
class Baseline(Server):
    """`server=baseline`."""

    _target_: str = f"{MODES}.baseline.Baseline"
    name: str = "baseline"


@dataclass
class Queue(Server):
    """`server=queue`."""

    _target_: str = f"{MODES}.queue.Queue"
    name: str = "queue"
    workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("server.workers", self.workers, 1)


@dataclass
class Batch(Server):
    """`server=batch`."""

    _target_: str = f"{MODES}.batch.Batch"
    name: str = "batch"


@dataclass
class LoadBalancer(Server):
    """`server=lb`. Defaults of the checks follow HAProxy, those of ejection Envoy."""

    _target_: str = f"{MODES}.lb.LoadBalancer"
    name: str = "lb"
    replicas: int = 3
    replica: str = "batch"
    backends: list[str] = field(default_factory=list)
    start_timeout_s: float = 600.0
    check_path: str = "/ready"
    check_interval_s: float = 2.0
    check_timeout_s: float = 2.0
    rise: int = 2
    fall: int = 3
    probe_idle_s: float = 30.0
    probe_timeout_s: float = 60.0
    silent_s: float = 1.0
    eject_after: int = 5
    eject_s: float = 30.0
    eject_max_s: float = 300.0
    connect_timeout_s: float = 2.0
    retry_share: float = 0.2
    retry_burst: int = 128
    restart_min_s: float = 0.5
    restart_max_s: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replica not in REPLICAS:
            raise UserError(f"server.replica={self.replica} is none of {', '.join(REPLICAS)}")
        for knob in ("replicas", "rise", "fall", "eject_after"):
            at_least(f"server.{knob}", getattr(self, knob), 1)
        for knob in ("retry_share", "retry_burst", "probe_idle_s", "silent_s", "restart_min_s"):
            at_least(f"server.{knob}", getattr(self, knob), 0)
        for knob in ("start_timeout_s", "check_interval_s", "check_timeout_s", "probe_timeout_s", "eject_s"):
            above(f"server.{knob}", getattr(self, knob), 0)
        above("server.connect_timeout_s", self.connect_timeout_s, 0)
        at_least("server.eject_max_s", self.eject_max_s, self.eject_s)
        at_least("server.restart_max_s", self.restart_max_s, self.restart_min_s)
        for address in self.backends:
            if not address.startswith(("http://", "https://")):
                raise UserError(f"server.backends: {address} is not an address such as http://127.0.0.1:8000")


@dataclass
class External:
    """`server=external`: somebody else's service, reached by its address."""

    _target_: str = f"{MODES}.external.External"
    name: str = "external"
    url: str | None = None
    api_key: str | None = None

    def __post_init__(self) -> None:
        if not self.url or not self.url.startswith(("http://", "https://")):
            raise UserError(f"server.url={self.url} is not an address such as http://127.0.0.1:8000")
        keys.read(self.api_key)


REPLICAS: dict[str, type[Server]] = {"baseline": Baseline, "queue": Queue, "batch": Batch}


def replica_options(options: LoadBalancer, index: int) -> dict[str, Any]:
    """The `server` section of replica `index`: the mode's defaults with the balancer's limits, on a free
    port.
    """
    shared = {name: value for name, value in asdict(options).items() if name in Server.__dataclass_fields__}
    own = ("_target_", "name", "port", "host", "api_key", "default_timeout_ms", "max_connections", "label")
    for own_knob in own:
        shared.pop(own_knob)
    return asdict(REPLICAS[options.replica](**shared, label=f"replica-{index}"))


SCHEMAS: dict[str, type] = {
    "server/baseline": Baseline,
    "server/queue": Queue,
    "server/batch": Batch,
    "server/lb": LoadBalancer,
    "server/external": External,
}
