"""Search of rows larger than the GPU's memory: chunk by chunk from host memory or disk, with a running selection.

While one chunk is searched the next is on its way: a thread, and torch's with it, fills page-locked pieces from the
rows and the copy engine carries them over. Chunks come in order and keys are float64, so the answer is that of a
search at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance.search.index import Array, Index, checked_queries, checked_rows
from mlsys.distance.search.ranking import ranking
from mlsys.errors import UserError

PIECE_BYTES, PIECES = 8 << 20, 3  # page-locked; larger pieces copy no faster
ROW_EXTRAS = 24  # bytes a row for norms and the like


@dataclass
class Slot:
    """Room for one chunk on the device, and the event after which it may be overwritten."""

    rows: torch.Tensor
    searched: torch.cuda.Event


class StreamedIndex:
    """Rows in host memory (also a memory-mapped file) that are searched on a GPU within a memory budget.

    Args:
        rows: (N, d) on the CPU, see `search`.
        metric: see `search`.
        device: where the work is done; on a CPU chunks are searched where they lie.
        memory_budget: bytes of device memory for rows; queries and workspace come on top.

    Raises:
        UserError: as `search`, and for a budget that does not hold a thousand rows.
    """

    def __init__(self, rows: Any, metric: object, device: torch.device | str, memory_budget: int) -> None:
        self.rows, self.metric = checked_rows(rows), metric
        self.ranking = ranking(metric)
        self.device = torch.device(device)
        copies = 3 if self.ranking.name == "l1" and self.device.type == "cuda" else 2
        each = copies * self.rows.shape[1] * self.rows.dtype.itemsize + ROW_EXTRAS
        self.chunk = min(len(self.rows), memory_budget // each)
        if self.chunk < min(1000, len(self.rows)):
            raise UserError(
                f"memory_budget={memory_budget} holds {self.chunk} rows of {each} bytes: 1000 are the least"
            )
        self.device_bytes = self.chunk * each
        self.method = "streamed"

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """The k nearest rows of each of `queries` (Q, d): see `search`. Reads the rows once."""
        wanted = checked_queries(queries, self.rows, k)
        here = wanted.to(self.device)
        keys = torch.empty(len(here), 0, dtype=torch.float64, device=self.device)
        index = torch.empty(len(here), 0, dtype=torch.int64, device=self.device)
        for start, part in self._chunks():
            new, _, numbers = Index(part, self.metric).nearest(here, min(int(k), len(part)))
            keys, order = torch.sort(torch.cat([keys, new], 1), dim=1, stable=True)
            keys = keys[:, : int(k)]
            index = torch.cat([index, numbers + start], 1).gather(1, order[:, : int(k)])
        distances, index = self.ranking.finish(keys).float().to(wanted.device), index.to(wanted.device)
        if isinstance(queries, np.ndarray):
            return distances.numpy(), index.numpy()
        return distances, index

    def _chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Chunks on the device with the number of their first row; the next is copied while one is searched."""
        starts = range(0, len(self.rows), self.chunk)
        if self.device.type != "cuda":
            yield from ((start, self.rows[start : start + self.chunk]) for start in starts)
            return
        slots = [self._slot() for _ in starts[:2]]
        carrier = _Carrier(self.rows, self.device)
        with ThreadPoolExecutor(1) as thread:
            copies: list[Future[torch.cuda.Event]] = []
            for number, start in enumerate(starts):
                for ahead in range(len(copies), min(number + len(slots), len(starts))):
                    slot = slots[ahead % len(slots)]
                    copies.append(thread.submit(carrier.carry, starts[ahead], slot))
                stream = torch.cuda.current_stream(self.device)
                stream.wait_event(copies[number].result())
                slot = slots[number % len(slots)]
                yield start, slot.rows[: min(self.chunk, len(self.rows) - start)]
                slot.searched.record(stream)

    def _slot(self) -> Slot:
        rows = torch.empty(self.chunk, self.rows.shape[1], dtype=self.rows.dtype, device=self.device)
        return Slot(rows, torch.cuda.Event())  # type: ignore[no-untyped-call]


class _Carrier:
    """Copies chunks to the device through a ring of page-locked pieces: one is filled while others travel."""

    def __init__(self, rows: torch.Tensor, device: torch.device) -> None:
        self.rows, self.stream = rows, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.count = max(1, PIECE_BYTES // (rows.shape[1] * rows.dtype.itemsize))
        shape = (self.count, rows.shape[1])
        self.ring = [
            (torch.empty(shape, dtype=rows.dtype, pin_memory=True), torch.cuda.Event())  # type: ignore[no-untyped-call]
            for _ in range(PIECES)
        ]
        self.turn = 0

    def carry(self, start: int, slot: Slot) -> torch.cuda.Event:
        """Copy the rows from `start` on into the slot; the event says when the last of them is there."""
        stop = min(start + len(slot.rows), len(self.rows))
        self.stream.wait_event(slot.searched)
        for first in range(start, stop, self.count):
            last = min(first + self.count, stop)
            piece, copied = self.ring[self.turn % PIECES]
            self.turn += 1
            copied.synchronize()
            piece[: last - first].copy_(self.rows[first:last])
            with torch.cuda.stream(self.stream):
                slot.rows[first - start : last - start].copy_(piece[: last - first], non_blocking=True)
                copied.record(self.stream)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(self.stream)
        return done
