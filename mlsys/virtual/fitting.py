"""Costs found in a real run's record: `cost.from=RECORD`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys.errors import UserError
from mlsys.record import Scalar


@dataclass(frozen=True)
class Fitted:
    """The knobs of the sections `generator` and `cost` that a record shows."""

    generator: Mapping[str, Any]
    cost: Mapping[str, Any]

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with them."""
        return {**config, "generator": dict(self.generator), "cost": {**config["cost"], **self.cost}}

    def described(self) -> dict[str, Scalar]:
        """What the record says of the fit."""
        return {}


def fit(source: Path) -> Fitted:
    """What the record in `source` shows. Raises UserError where it shows too little."""
    raise UserError(f"cost.from={source}: not yet")
