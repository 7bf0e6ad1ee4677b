"""How a GPU's kernels are cut, by architecture: measured where `tuning.json` names it, a plain guess
elsewhere.

A table holds `settings`, rows by the bytes of one vector and, where they name them, by the metric's number of
sums (three take more registers) and the bytes of an element (of small ones a thread loads more at once), and
`auto`, rows by its length that name the fastest reduction. `python run.py experiment=tune` measures a table for
another GPU; the file named in `MLSYS_TUNING` is read before the one in the package.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mlsys.errors import UserError

SHIPPED = Path(__file__).with_name("tuning.json")
VARIABLE = "MLSYS_TUNING"


@dataclass(frozen=True)
class Settings:
    """How a vector is cut: `tiles` tiles of `tile_bytes` of each vector are one program's segment.

    `warps` run a program; `stages` above 1 pipelines its loads; `evict_first` keeps the stream out of the
    cache.
    """

    tile_bytes: int = 32768
    tiles: int = 4
    warps: int = 8
    stages: int = 1
    evict_first: bool = False

    def segment_n(self, itemsize: int) -> int:
        """Elements in a segment."""
        return self.tile_n(itemsize) * self.tiles

    def tile_n(self, itemsize: int) -> int:
        """Elements in a tile."""
        return self.tile_bytes // itemsize


def architecture(device: torch.device) -> str:
    """Name under which `device` stands in the table: "sm_90" for an H100; "interpreter" on a CPU."""
    if device.type != "cuda":
        return "interpreter"
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def settings(device: torch.device, n: int, itemsize: int, sums: int) -> Settings:
    """Settings for two vectors of n elements of `itemsize` bytes and a metric of so many sums."""
    size = n * itemsize
    for row in _table(architecture(device))["settings"]:
        fits = row.get("sums", sums) == sums and row.get("itemsize", itemsize) == itemsize
        if fits and (row["up_to_bytes"] is None or size <= row["up_to_bytes"]):
            return Settings(**{name: row[name] for name in Settings.__dataclass_fields__ if name in row})
    raise UserError(
        f"{VARIABLE}={os.environ.get(VARIABLE)}: its `settings` have no last row for {sums} sums with up_to_bytes null"
    )


def fastest(device: torch.device, n: int) -> str:
    """The reduction that was the fastest for `n` elements."""
    for row in _table(architecture(device))["auto"]:
        if row["up_to_n"] is None or n <= row["up_to_n"]:
            return str(row["reduction"])
    raise UserError(f"{VARIABLE}={os.environ.get(VARIABLE)}: its `auto` has no last row with up_to_n null")


def measured(device: torch.device) -> bool:
    """Whether the table for `device` was measured on its architecture, not guessed."""
    return architecture(device) in _tables(os.environ.get(VARIABLE))


def _table(name: str) -> dict[str, Any]:
    tables = _tables(os.environ.get(VARIABLE))
    return tables.get(name) or tables["default"]


@lru_cache(maxsize=4)
def _tables(own: str | None) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = json.loads(SHIPPED.read_text())
    if own:
        try:
            tables |= json.loads(Path(own).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise UserError(f"{VARIABLE}={own} cannot be read: {error}") from error
    return tables
