"""The knobs of a balancer, and what it hands on to the replicas that it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from mlsys import defaults, signatures
from mlsys.errors import UserError
from mlsys.serving.options import Server, above, at_least

# What belongs to the balancer's own address and to its clients. A replica has what its mode's YAML says.
OWN = (
    "name", "port", "host", "api_key", "default_timeout_ms", "max_connections", "label",
    "rate_per_key", "rate_burst", "tls_cert", "tls_key", "request_log", "log_questions",
)  # fmt: skip


@dataclass
class Balancing(Server):
    """What `conf/server/lb.yaml` explains. A client's request opens a call to a replica as well."""

    files_per_client = 2
    starts_replicas = True

    replicas: int
    replica: str
    backends: list[str]
    via: dict[str, str]
    start_timeout_s: float
    check_path: str
    check_interval_s: float
    check_timeout_s: float
    rise: int
    fall: int
    probe_idle_s: float
    probe_timeout_s: float
    silent_s: float
    hang_factor: float
    eject_after: int
    eject_s: float
    eject_max_s: float
    connect_timeout_s: float
    retry_share: float
    retry_burst: int
    stream_gap_s: float
    restart_min_s: float
    restart_max_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_replica(self.replica):
            known = [mode for mode in defaults.options("server") if is_replica(mode)]
            raise UserError(f"server.replica={self.replica} is none of {', '.join(known)}")
        for knob in ("replicas", "rise", "fall", "eject_after"):
            at_least(f"server.{knob}", getattr(self, knob), 1)
        for knob in (
            "retry_share",
            "retry_burst",
            "probe_idle_s",
            "silent_s",
            "hang_factor",
            "restart_min_s",
        ):
            at_least(f"server.{knob}", getattr(self, knob), 0)
        for knob in ("start_timeout_s", "check_interval_s", "check_timeout_s", "probe_timeout_s", "eject_s"):
            above(f"server.{knob}", getattr(self, knob), 0)
        for knob in ("connect_timeout_s", "stream_gap_s"):
            above(f"server.{knob}", getattr(self, knob), 0)
        at_least("server.eject_max_s", self.eject_max_s, self.eject_s)
        at_least("server.restart_max_s", self.restart_max_s, self.restart_min_s)
        for knob, addresses in (("backends", self.backends), ("via", self.via.values())):
            for address in addresses:
                if not address.startswith(("http://", "https://")):
                    raise UserError(
                        f"server.{knob}: {address} is not an address such as http://127.0.0.1:8000"
                    )


def is_replica(mode: str) -> bool:
    """Whether `mode` is an option of `server` that starts a service without replicas of its own."""
    section = defaults.section("server", mode) if mode in defaults.options("server") else {}
    kind = signatures.named("server", section) if "host" in section else None
    return isinstance(kind, type) and issubclass(kind, Server) and not kind.starts_replicas


def replica_options(outer: Any, index: int) -> dict[str, Any]:
    """The `server` section of replica `index`: what its mode's YAML says with the limits of `outer`, on a free port."""
    shared = {knob.name for knob in fields(Server)}.difference(OWN)
    limits = {knob: value for knob, value in asdict(outer).items() if knob in shared}
    return {**defaults.section("server", outer.replica), **limits, "label": f"replica-{index}"}
