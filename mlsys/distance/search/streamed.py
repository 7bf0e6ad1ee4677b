"""Search of rows larger than the GPU's memory: chunk by chunk from host memory or disk, with a running selection.

While one chunk is searched the next is on its way: this thread, and torch's with it, fills page-locked pieces from
the rows, a second has the copy engine carry them over (`relay`), and a third searches. Chunks come in order and keys
are float64, so the answer is that of a search at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from mlsys.distance.arrays import device_of
from mlsys.distance.copy_pipeline import relay
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.search.index import Index
from mlsys.distance.search.inputs import (
    checked_queries,
    checked_rows,
    given_back,
    nothing_found,
    result_dtype,
)
from mlsys.distance.search.ranking import ranking
from mlsys.errors import UserError

PIECE_BYTES, PIECES = 32 << 20, 3  # page-locked
CHUNKS = 2  # on the device: one is searched, one arrives
ROW_EXTRAS = 24  # bytes a row for norms and the like


class StreamedIndex:
    """Rows in host memory (also a memory-mapped file) that are searched on a GPU within a memory budget.

    Args:
        rows: (N, d) on the CPU, see `search`.
        metric: see `search`.
        device: where the work is done; on a CPU chunks are searched where they lie.
        memory_budget: bytes of device memory for rows; queries and workspace come on top, and on a GPU 96 MiB of
            page-locked memory.

    Raises:
        UserError: as `search`, and for a budget that does not hold a thousand rows.
    """

    @isolated
    def __init__(
        self, rows: Any, metric: str | Metric, device: torch.device | str, memory_budget: int
    ) -> None:
        self.rows, self.metric = checked_rows(rows), metric
        self.ranking = ranking(metric)
        self.device = device_of(device)
        copies = CHUNKS + 1 if self.ranking.name == "l1" and self.device.type == "cuda" else CHUNKS
        each = copies * self.rows.shape[1] * self.rows.dtype.itemsize + ROW_EXTRAS
        self.chunk = min(len(self.rows), memory_budget // each)
        if self.chunk < min(1000, len(self.rows)):
            raise UserError(
                f"memory_budget={memory_budget} holds {self.chunk} rows of {each} bytes: 1000 are the least"
            )
        self.device_bytes = self.chunk * each
        self.method = "streamed"

    @isolated
    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        """The k nearest rows of each of `queries` (Q, d): see `search`. Reads the rows once."""
        wanted = checked_queries(queries, self.rows.shape, k)
        if not len(wanted):
            return nothing_found(queries, wanted, self.rows, int(k))
        keys, index = self.keys(wanted.to(self.device), int(k))
        distances = self.ranking.finish(keys).to(result_dtype(wanted, self.rows))
        return given_back(queries, wanted, distances, index)

    def keys(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, and rows, each (Q, k), of checked queries on the device."""
        best = _Best(self.metric, queries, k)
        if self.device.type == "cuda":
            _Passage(self.rows, self.chunk, best).run()
        else:
            for start in range(0, len(self.rows), self.chunk):
                best.take(start, self.rows[start : start + self.chunk])
        return best.keys, best.index


class _Best:
    """The nearest of the rows taken so far: keys and row numbers (Q, up to k)."""

    def __init__(self, metric: str | Metric, queries: torch.Tensor, k: int) -> None:
        self.metric, self.queries, self.k = metric, queries, k
        self.keys = torch.empty(len(queries), 0, dtype=torch.float64, device=queries.device)
        self.index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)

    def take(self, start: int, rows: torch.Tensor) -> None:
        """Search these rows, the first of which has the number `start`, after all rows before them."""
        new, _, numbers = Index(rows, self.metric).nearest(self.queries, min(self.k, len(rows)))
        keys, order = torch.sort(torch.cat([self.keys, new], 1), dim=1, stable=True)
        self.keys = keys[:, : self.k]
        self.index = torch.cat([self.index, numbers + start], 1).gather(1, order[:, : self.k])


@dataclass
class _Chunk:
    """Room for one chunk on the device, and the event after which it may be overwritten."""

    rows: torch.Tensor
    searched: torch.cuda.Event


@dataclass
class _Piece:
    """Page-locked room for some rows, and the event after which it may be filled again."""

    rows: torch.Tensor
    copied: torch.cuda.Event


class _Passage:
    """One pass of all rows (N, d) over the device, `chunk` rows at a time."""

    def __init__(self, rows: torch.Tensor, chunk: int, best: _Best) -> None:
        self.rows, self.chunk, self.best = rows, chunk, best
        device, dim, dtype = best.queries.device, rows.shape[1], rows.dtype
        self.count = max(1, min(chunk, PIECE_BYTES // (dim * dtype.itemsize)))
        self.stream = torch.cuda.current_stream(device)
        self.copies = torch.cuda.Stream(device)
        self.chunks = [
            _Chunk(torch.empty(chunk, dim, dtype=dtype, device=device), _event()) for _ in range(CHUNKS)
        ]
        self.pieces = [
            _Piece(torch.empty(self.count, dim, dtype=dtype, pin_memory=True), _event())
            for _ in range(PIECES)
        ]
        self.searches: list[Future[None]] = []

    def run(self) -> None:
        """Search all rows."""
        self.copies.wait_stream(self.stream)  # the chunks' memory may still be in use there
        with ThreadPoolExecutor(1) as searcher:
            relay(self._ranges(), self.pieces, self._fill, partial(self._carry, searcher))
            for search in self.searches:
                search.result()

    def _ranges(self) -> Iterator[tuple[int, int, int]]:
        """Of every piece the number of its chunk and its first and last row, exclusive; none is in two chunks."""
        for number, start in enumerate(range(0, len(self.rows), self.chunk)):
            end = min(start + self.chunk, len(self.rows))
            for first in range(start, end, self.count):
                yield number, first, min(first + self.count, end)

    def _fill(self, piece: _Piece, place: tuple[int, int, int]) -> None:
        _, first, last = place
        piece.copied.synchronize()
        piece.rows[: last - first].copy_(self.rows[first:last])

    def _carry(self, searcher: Executor, piece: _Piece, place: tuple[int, int, int]) -> None:
        """Enqueue the copy of a piece into its chunk, and have the chunk searched once it is whole."""
        number, first, last = place
        start, end = number * self.chunk, min((number + 1) * self.chunk, len(self.rows))
        chunk = self.chunks[number % CHUNKS]
        if first == start and number >= CHUNKS:
            self.searches[number - CHUNKS].result()  # its `searched` is recorded
        with torch.cuda.stream(self.copies):
            if first == start:
                self.copies.wait_event(chunk.searched)
            chunk.rows[first - start : last - start].copy_(piece.rows[: last - first], non_blocking=True)
            piece.copied.record(self.copies)
        if last == end:
            arrived = _event()
            arrived.record(self.copies)
            self.searches.append(searcher.submit(self._search, chunk, arrived, start, end))

    def _search(self, chunk: _Chunk, arrived: torch.cuda.Event, start: int, end: int) -> None:
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(arrived)
            self.best.take(start, chunk.rows[: end - start])
            chunk.searched.record(self.stream)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()
