"""An index in a file: its rows as safetensors, which are read where they lie when it is loaded.

What is known of the rows (their norms) is not kept: it is computed from them again, so no file can make a search miss
neighbours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mlsys.distance.search.numbering import Numbers
from mlsys.errors import UserError, one_line

FORMAT = "mlsys index 1"


class Stored(NamedTuple):
    """What a file holds; `rows` (N, d) are memory-mapped."""

    rows: torch.Tensor
    numbers: Numbers
    metric: str


def write(path: Path, stored: Stored) -> None:
    """Write the file in one step: a reader never sees half of it."""
    tensors = {"rows": stored.rows.cpu().contiguous()}
    if stored.numbers.held is not None:
        tensors["numbers"] = stored.numbers.held.cpu().contiguous()
    about = {"format": FORMAT, "metric": stored.metric, "next": str(stored.numbers.next)}
    if not path.name:
        raise UserError(f"{path}: the index cannot be written: this names no file")
    part = path.with_name(f"{path.name}.part")
    try:
        save_file(tensors, part, metadata=about)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path}: the index cannot be written: {one_line(error)}") from error


def read(path: Path) -> Stored:
    """Raises `UserError` for a file that is none, or whose numbers do not fit its rows."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise UserError(f"{path}: not a saved index")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no dict
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a saved index: {one_line(error)}") from error
    if "rows" not in tensors or not about.get("next", "").isdecimal():
        raise UserError(f"{path}: not a saved index")
    rows, held, following = tensors["rows"], tensors.get("numbers"), int(about["next"])
    if not _fit(rows, held, following):
        raise UserError(f"{path}: the numbers of its rows do not fit them")
    return Stored(rows, Numbers(len(rows), held, following), about.get("metric", ""))


def _fit(rows: torch.Tensor, held: torch.Tensor | None, following: int) -> bool:
    if rows.dim() != 2:
        return False
    if held is None:
        return following >= len(rows)
    if held.dtype != torch.int64 or held.shape != rows.shape[:1] or not len(held):
        return False
    return bool((held.diff() > 0).all()) and int(held[0]) >= 0 and int(held[-1]) < following < 2**62
