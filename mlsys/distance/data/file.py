"""data=file: the user's own vectors, read piece by piece so that they may be larger than memory.

Files are read by position, which the system's page cache serves like a mapping, but the memory that counts as
this process's stays at the buffers. A .pt file is mapped, and its pages are given back after each piece.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlsys.distance.data.formats import READERS, Layout
from mlsys.distance.plan import DTYPES
from mlsys.distance.source import Shard, Source, count_nan
from mlsys.distance.threads import pool
from mlsys.errors import UserError

PART_BYTES = 4 << 20
MADV_DONTNEED = 4


@dataclass(frozen=True)
class File:
    """Two files of one length and dtype.

    Args:
        x, y: paths of .npy, .safetensors, .pt, .f32 (raw) or .fvecs files.
        x_key, y_key: which tensor of a file that holds several.
        flatten: read a file of several rows as one vector, row after row, instead of refusing it.
    """

    name: str = "file"
    x: str | None = None
    y: str | None = None
    x_key: str | None = None
    y_key: str | None = None
    flatten: bool = False

    def open(self, n: int, dtype: torch.dtype, seed: int) -> tuple[Source, Source]:
        """The two vectors; their length and dtype are the files'. Raises UserError naming option and path."""
        x = self._open("data.x", self.x, self.x_key)
        y = self._open("data.y", self.y, self.y_key)
        if x.n != y.n:
            raise UserError(f"data.x={self.x} has {x.n} elements and data.y={self.y} has {y.n}")
        if x.dtype != y.dtype:
            raise UserError(f"data.x={self.x} is {x.dtype} and data.y={self.y} is {y.dtype}")
        return x, y

    def _open(self, option: str, name: str | None, key: str | None) -> FileSource:
        if name is None:
            raise UserError(f"{option}=null: data=file needs the paths data.x and data.y")
        path = Path(name)
        try:
            if not path.is_file():
                raise UserError("is not there" if not path.exists() else "is not a file")
            if path.suffix not in READERS:
                raise UserError(f"is none of {', '.join(READERS)}")
            if path.stat().st_size == 0:
                raise UserError("is empty")
            layout = READERS[path.suffix](path, key)
            self._check(layout)
            return FileSource(path, layout)
        except UserError as error:
            raise UserError(f"{option}={name} {error}") from error.__cause__
        except OSError as error:
            raise UserError(f"{option}={name} cannot be read: {error.strerror}") from error

    def _check(self, layout: Layout) -> None:
        if len(layout.shape) != 1 and not self.flatten:
            raise UserError(
                f"is {len(layout.shape)}-D, of shape {layout.shape}: a distance takes one vector; "
                "data.flatten=true reads it as one, row after row"
            )
        if layout.dtype not in DTYPES:
            raise UserError(
                f"has dtype {layout.dtype}; distances take float64, float32, float16, bfloat16, int8"
            )
        if math.prod(layout.shape) == 0:
            raise UserError("has no elements")


@dataclass
class FileSource:
    """A vector in a file."""

    path: Path
    layout: Layout
    n: int = field(init=False)
    dtype: torch.dtype = field(init=False)
    description: str = field(init=False)
    in_memory = False

    def __post_init__(self) -> None:
        self.n, self.dtype = math.prod(self.layout.shape), self.layout.dtype
        rows = f", {self.layout.shape} row after row" if len(self.layout.shape) > 1 else ""
        self.description = f"{self.path.name}{rows}"
        self._file = os.open(self.path, os.O_RDONLY) if self.layout.mapped is None else -1
        end = self.layout.offset + self.n * self.dtype.itemsize
        if self._file >= 0 and os.fstat(self._file).st_size < end:
            raise UserError(f"is cut off: {os.fstat(self._file).st_size} bytes, {end} are declared")

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop into `out`."""
        if self.layout.mapped is not None:
            piece = self.layout.mapped.view(-1)[start:stop]
            out.copy_(piece)
            _give_back(piece)
        elif self.layout.gap == 0:
            self._read(self.layout.offset + start * self.dtype.itemsize, out)
        else:
            self._read_rows(start, stop, out)

    def tensor(self) -> torch.Tensor:
        """The whole vector in memory."""
        whole = torch.empty(self.n, dtype=self.dtype)
        part = PART_BYTES // self.dtype.itemsize
        reads = [
            pool("mlsys-fill", 8).submit(self.read, start, start + len(piece), piece)
            for start in range(0, self.n, part)
            for piece in [whole[start : start + part]]
        ]
        for read in reads:
            read.result()
        return whole

    def nan_count(self) -> int:
        """How many elements are nan."""
        return count_nan(self)

    def part(self, start: int, stop: int) -> Source:
        """A stretch of the file; the rest is not read."""
        return Shard(self, start, stop)

    def _read(self, offset: int, out: torch.Tensor) -> None:
        target: memoryview = memoryview(out.view(torch.uint8).numpy().data)
        done = 0
        while done < len(target):
            got = os.preadv(self._file, [target[done:]], offset + done)
            if got == 0:
                raise UserError(f"{self.path} ended after {offset + done} bytes while it was read")
            done += got

    def _read_rows(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Elements of rows that each follow a gap: whole rows are read, and the gaps left out in the copy."""
        row_n = self.layout.shape[-1]
        gap = self.layout.gap // self.dtype.itemsize
        rows_a_read = max(1, PART_BYTES // (row_n * self.dtype.itemsize))
        for row in range(start // row_n, -(-stop // row_n), rows_a_read):
            end = min(row + rows_a_read, -(-stop // row_n))
            raw = torch.empty((end - row) * (row_n + gap), dtype=self.dtype)
            self._read(self.layout.offset + row * (row_n + gap) * self.dtype.itemsize, raw)
            inner = raw.view(end - row, row_n + gap)[:, gap:].reshape(-1)
            a, b = max(start, row * row_n), min(stop, end * row_n)
            out[a - start : b - start] = inner[a - row * row_n : b - row * row_n]


def _give_back(piece: torch.Tensor) -> None:
    """Take a mapped piece's pages out of this process's memory; they stay in the page cache."""
    if sys.platform != "linux":
        return
    begin = piece.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    end = piece.data_ptr() + piece.numel() * piece.element_size()
    libc: Any = ctypes.CDLL(None)
    libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), MADV_DONTNEED)
