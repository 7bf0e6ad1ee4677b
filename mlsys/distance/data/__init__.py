"""Where vectors come from: the options of the group `data`."""

from typing import Protocol

import torch

from mlsys.distance.source import Source


class Data(Protocol):
    """An option of the group `data`."""

    name: str

    def open(self, n: int, dtype: torch.dtype, seed: int) -> tuple[Source, Source]:
        """The two vectors. A file has its own length: the sources' `n` says it. Raises UserError."""
        ...
