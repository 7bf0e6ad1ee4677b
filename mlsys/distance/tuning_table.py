"""How a GPU's kernels are cut: as measured on this card, else as measured on its architecture, else by a model.

`tuning.json` has a table for each card that was measured, by the name that the driver calls it. A table holds
`settings`, rows by the bytes of one vector and, where they name them, by the metric's number of sums (three take more
registers) and the bytes of an element (of small ones a thread loads more at once), and `auto`, rows by its length that
name the fastest reduction. `python run.py experiment=tune` measures a table for another card; the file named in
`MLSYS_TUNING` is read before the one in the package. Its tables may be named by architecture instead (`sm_90`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mlsys.distance import tuning_model
from mlsys.distance.tuning_model import Settings
from mlsys.errors import UserError

SHIPPED = Path(__file__).with_name("tuning.json")
VARIABLE = "MLSYS_TUNING"
BY_MODEL = "single_pass"  # the fastest reduction of every card that was measured
Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """`table`: None where nothing was measured. `origin`: where it is from, for the record."""

    table: dict[str, Any] | None
    origin: str


def architecture(device: torch.device) -> str:
    """A GPU's architecture: "sm_90" for an H100 and an H200; "interpreter" on a CPU."""
    if device.type != "cuda":
        return "interpreter"
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def settings(device: torch.device, n: int, itemsize: int, sums: int) -> Settings:
    """Settings for two vectors of n elements of `itemsize` bytes and a metric of so many sums."""
    size, table = n * itemsize, _found(device).table
    if table is None:
        return tuning_model.settings(tuning_model.card(device), size)
    return chosen(table, size, itemsize, sums)


def chosen(table: dict[str, Any], size: int, itemsize: int, sums: int) -> Settings:
    """What a table has for vectors of `size` bytes."""
    for row in table["settings"]:
        fits = row.get("sums", sums) == sums and row.get("itemsize", itemsize) == itemsize
        if fits and (row["up_to_bytes"] is None or size <= row["up_to_bytes"]):
            return Settings(**{name: row[name] for name in Settings.__dataclass_fields__ if name in row})
    raise UserError(
        f"{VARIABLE}={os.environ.get(VARIABLE)}: its `settings` have no last row for {sums} sums with up_to_bytes null"
    )


def fastest(device: torch.device, n: int) -> str:
    """The reduction that was the fastest for `n` elements."""
    table = _found(device).table
    if table is None:
        return BY_MODEL
    for row in table["auto"]:
        if row["up_to_n"] is None or n <= row["up_to_n"]:
            return str(row["reduction"])
    raise UserError(f"{VARIABLE}={os.environ.get(VARIABLE)}: its `auto` has no last row with up_to_n null")


def origin(device: torch.device) -> str:
    """Whether the settings were measured on this card, on another of its architecture, or come from the model."""
    return _found(device).origin


def _found(device: torch.device) -> Found:
    name, kind = _card(device), architecture(device)
    for tables in _tables(os.environ.get(VARIABLE)):
        if name in tables:
            return Found(tables[name], f"this card: {_source(tables[name])}")
        alike = [table for key, table in tables.items() if kind in (key, table.get("architecture"))]
        if alike:
            return Found(alike[0], f"this architecture ({kind}): {_source(alike[0])}")
    return Found(None, f"model: {tuning_model.card(device)}")


def _card(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter"


def _source(table: dict[str, Any]) -> str:
    return str(table.get("source", "of an unknown source"))


@lru_cache(maxsize=4)
def _tables(own: str | None) -> list[Tables]:
    """One's own, where there are, before those of the package."""
    shipped: Tables = json.loads(SHIPPED.read_text())
    if not own:
        return [shipped]
    try:
        return [json.loads(Path(own).read_text()), shipped]
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{VARIABLE}={own} cannot be read: {error}") from error
