"""Where elements come from: a source gives any stretch of a vector, wherever it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from mlsys.distance.arrays import as_tensor

COUNT_CHUNK = 1 << 22


class Source(Protocol):
    """A vector that can be read piece by piece, by several threads at a time."""

    @property
    def n(self) -> int:
        """Number of elements."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        ...

    @property
    def description(self) -> str:
        """What it is, for the record."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether reading is copying from host memory: no file is waited for."""
        ...

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop into `out`, 1-D contiguous on the CPU, of `dtype` and that length."""
        ...

    def tensor(self) -> torch.Tensor:
        """The whole vector in memory, (n,) of `dtype` on the CPU."""
        ...

    def nan_count(self) -> int:
        """How many elements are nan."""
        ...

    def part(self, start: int, stop: int) -> Source:
        """Elements start … stop as a source of their own, which takes no memory for the others."""
        ...


@dataclass(frozen=True)
class TensorSource:
    """A vector that lies in host memory."""

    vector: torch.Tensor
    description: str = "in memory"
    in_memory = True

    def __post_init__(self) -> None:
        """Look at the vector as `distance` does. Raises UserError."""
        object.__setattr__(self, "vector", as_tensor("vector", self.vector))

    @property
    def n(self) -> int:
        """Number of elements."""
        return len(self.vector)

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        return self.vector.dtype

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop into `out`."""
        out.copy_(self.vector[start:stop])

    def tensor(self) -> torch.Tensor:
        """The vector itself."""
        return self.vector

    def nan_count(self) -> int:
        """How many elements are nan."""
        return count_nan(self)

    def part(self, start: int, stop: int) -> Source:
        """A view of elements start … stop."""
        return TensorSource(self.vector[start:stop], self.description)


@dataclass(frozen=True)
class Shard:
    """A stretch of a source, itself a source."""

    whole: Source
    start: int
    stop: int

    @property
    def n(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        return self.whole.dtype

    @property
    def description(self) -> str:
        """What it is, for the record."""
        return f"elements {self.start} to {self.stop} of {self.whole.description}"

    @property
    def in_memory(self) -> bool:
        """Whether the whole is."""
        return self.whole.in_memory

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop of the shard into `out`."""
        self.whole.read(self.start + start, self.start + stop, out)

    def tensor(self) -> torch.Tensor:
        """The shard in memory; the rest of the vector is not read."""
        shard = torch.empty(self.n, dtype=self.dtype)
        self.read(0, self.n, shard)
        return shard

    def nan_count(self) -> int:
        """How many elements are nan."""
        return count_nan(self)

    def part(self, start: int, stop: int) -> Source:
        """A stretch of the stretch."""
        return Shard(self.whole, self.start + start, self.start + stop)


def count_nan(source: Source) -> int:
    """Number of nan elements, read piece by piece."""
    if not source.dtype.is_floating_point:
        return 0
    buffer = torch.empty(min(COUNT_CHUNK, source.n), dtype=source.dtype)
    total = 0
    for start in range(0, source.n, COUNT_CHUNK):
        stop = min(start + COUNT_CHUNK, source.n)
        source.read(start, stop, buffer[: stop - start])
        total += int(buffer[: stop - start].isnan().sum())
    return total
