"""The knobs of the groups metric, reduction and data, so that a wrong type or an unknown key is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class RandomOptions:
    """data=random has no knobs."""

    _target_: str = "mlsys.distance.data.random.Random"
    name: str = "random"


@dataclass
class FileOptions:
    """data=file: two files, and which entry of each where a file holds several."""

    _target_: str = "mlsys.distance.data.file.File"
    name: str = "file"
    x: str | None = None
    y: str | None = None
    x_key: str | None = None
    y_key: str | None = None
    flatten: bool = False


SCHEMAS: dict[str, Any] = {"data/random": RandomOptions, "data/file": FileOptions}
