"""The knobs of `tracking=...` with their types, so that a wrong one is an error before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class OffOptions:
    """No W&B."""

    _target_: str = "mlsys.tracking.NullSink"
    name: str = "off"


@dataclass
class WandbOptions:
    """W&B; what each means stands in `mlsys.tracking.wandb.WandbSink`."""

    _target_: str = "mlsys.tracking.wandb.WandbSink"
    name: str = "offline"
    mode: str = "offline"
    project: str = "mlsys"
    entity: str | None = None
    group: str | None = None
    timeout_s: float = 20.0
    requests: bool = True


SCHEMAS: dict[str, Any] = {
    "tracking/off": OffOptions,
    "tracking/offline": WandbOptions,
    "tracking/online": WandbOptions,
}
