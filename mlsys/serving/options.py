"""What every mode has that starts a service: the knobs of `conf/server/_service.yaml`, with their types and limits.

What only one mode has stands with it, in `mlsys/serving/modes/`. Making the object checks its values, so a mistake is
one line before any model loads.
"""

from __future__ import annotations

import math
import ssl
from dataclasses import dataclass
from typing import ClassVar

from mlsys import keys
from mlsys.errors import UserError
from mlsys.quantities import check_threads


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
    """Address, limits, and how it ends. `files_per_client`: what one connection opens.

    `starts_replicas`: whether it puts other services behind itself, and so cannot be put behind another.
    """

    files_per_client: ClassVar[int] = 1
    starts_replicas: ClassVar[bool] = False

    name: str
    host: str
    port: int
    threads: int
    max_queue: int
    max_query_chars: int
    max_k: int
    max_tokens: int | None
    max_body_bytes: int
    receive_timeout_s: float
    max_connections: int
    stream_events_per_s: float
    default_timeout_ms: float | None
    api_key: str | None
    rate_per_key: float | None
    rate_burst: int
    fair_keys: bool
    tls_cert: str | None
    tls_key: str | None
    request_log: str | None
    log_questions: bool
    jobs_ttl_s: float
    jobs_max: int
    drain_timeout_s: float
    stall_timeout_s: float
    label: str | None
    engine_process: bool | None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UserError(f"server.port={self.port} must be between 0 (a free one) and 65535")
        check_threads("server.threads", self.threads)
        for knob in (
            "max_queue",
            "max_query_chars",
            "max_k",
            "max_tokens",
            "jobs_max",
            "max_connections",
            "rate_burst",
        ):
            at_least(f"server.{knob}", getattr(self, knob), 1)
        at_least("server.max_body_bytes", self.max_body_bytes, 64)
        at_least("server.drain_timeout_s", self.drain_timeout_s, 0)
        for knob in (
            "default_timeout_ms",
            "jobs_ttl_s",
            "stall_timeout_s",
            "receive_timeout_s",
            "stream_events_per_s",
            "rate_per_key",
        ):
            above(f"server.{knob}", getattr(self, knob), 0)
        keys.read(self.api_key)
        self._check_tls()

    def _check_tls(self) -> None:
        """Both files or none, and they belong together."""
        if self.tls_cert is None and self.tls_key is None:
            return
        if self.tls_cert is None or self.tls_key is None:
            given, other = ("tls_cert", "tls_key") if self.tls_cert else ("tls_key", "tls_cert")
            raise UserError(f"server.{given} needs server.{other} beside it")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key, lambda: "")
        except (OSError, ValueError) as error:
            files = f"server.tls_cert={self.tls_cert} server.tls_key={self.tls_key}"
            raise UserError(f"{files}: {getattr(error, 'strerror', None) or error}") from None
