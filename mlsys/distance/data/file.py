"""data=file: the user's own vectors, read piece by piece so that they may be larger than memory.

Files are read by position, never mapped: the system's page cache serves both alike, but the memory that counts as
this process's stays at the buffers, and a file that becomes shorter meanwhile is an error, not a SIGBUS. Whether what
is read was overwritten meanwhile cannot be seen: leave the files alone while they are measured.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mlsys.distance.arrays import DTYPES
from mlsys.distance.data.formats import READERS
from mlsys.distance.data.layout import Key, Layout
from mlsys.distance.source import Shard, Source, count_nan
from mlsys.distance.threads import pool
from mlsys.errors import UserError

PART_BYTES = 4 << 20
MOST_SHOWN = 400


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
        path = Path(name) if Path(name).exists() else Path(os.path.expanduser(name))
        try:
            before = _stat(path)
            layout = READERS[path.suffix](path, Key(f"{option}_key", key))
            self._check(layout)
            source = FileSource(path, layout, f"{option}={name}")
            if source.state != before:
                raise UserError("changed while it was opened")
            return source
        except UserError as error:
            raise UserError(f"{option}={name} {_printable(str(error))}") from error.__cause__
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


def _stat(path: Path) -> tuple[int, ...]:
    """The state of a file that could be read. Raises UserError for what is none."""
    if not path.is_file():
        raise UserError("is not there" if not path.exists() else "is not a file")
    if path.suffix not in READERS:
        raise UserError(f"is none of {', '.join(READERS)}")
    status = path.stat()
    if status.st_size == 0:
        raise UserError("is empty")
    return _state(status)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _printable(text: str) -> str:
    """`text` in one line without control characters, which names within a file may hold, and not without end."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


@dataclass
class FileSource:
    """A vector in a file, which is held open. `asked`: option and path, for what goes wrong while reading."""

    path: Path
    layout: Layout
    asked: str
    n: int = field(init=False)
    dtype: torch.dtype = field(init=False)
    description: str = field(init=False)
    in_memory = False

    def __post_init__(self) -> None:
        layout = self.layout
        self.n, self.dtype = math.prod(layout.shape), layout.dtype
        rows = f", {layout.shape} row after row" if len(layout.shape) > 1 else ""
        self.description = f"{self.path.name}{rows}"
        self._file = os.open(self.path, os.O_RDONLY)
        status = os.fstat(self._file)
        self.state = _state(status)
        heads = 0 if layout.row_head is None else 4 * self.n // layout.row_head
        end = layout.offset + self.n * self.dtype.itemsize + heads
        if status.st_size < end:
            raise UserError(f"is cut off: {status.st_size} bytes, {end} are declared")
        if layout.exact and status.st_size > end:
            raise UserError(f"has {status.st_size - end} bytes after the {end} that its header declares")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop into `out`. Raises UserError where the file is not what it was."""
        if self.layout.row_head is None:
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
                raise UserError(f"{self.asked} ended after {offset + done} bytes while it was read")
            done += got

    def _read_rows(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Elements of rows that each follow their length, which is checked: whole rows, many at a time."""
        dim = self.layout.shape[-1]
        rows_a_read = max(1, PART_BYTES // (dim * self.dtype.itemsize))
        for row in range(start // dim, -(-stop // dim), rows_a_read):
            end = min(row + rows_a_read, -(-stop // dim))
            raw = torch.empty((end - row) * (dim + 1), dtype=self.dtype)
            self._read(self.layout.offset + row * (dim + 1) * self.dtype.itemsize, raw)
            rows = raw.view(end - row, dim + 1)
            self._check_heads(rows[:, 0].contiguous().view(torch.int32), row)
            a, b = max(start, row * dim), min(stop, end * dim)
            out[a - start : b - start] = rows[:, 1:].reshape(-1)[a - row * dim : b - row * dim]

    def _check_heads(self, heads: torch.Tensor, row: int) -> None:
        wrong = torch.ne(heads, self.layout.row_head or 0)
        if wrong.any():
            first = int(wrong.nonzero()[0])
            raise UserError(
                f"{self.asked}: vector {row + first} has the dimension {int(heads[first])}, "
                f"the first has {self.layout.row_head}"
            )
