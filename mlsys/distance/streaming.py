"""Vectors larger than the device's memory: read, copied and reduced piece by piece within a memory budget.

On a GPU three slots of page-locked memory go round: one is filled while the copy engine empties another and the
kernel works on what has arrived. Vectors in memory are copied into them by torch's own threads, while another thread
enqueues what the GPU has to do (`relay`). Files are read ahead by a pool. On a CPU two slots do: the pool reads one
while the cores compute on the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import torch

from mlsys.distance import metrics, reductions
from mlsys.distance.copy_pipeline import relay
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.pair import check_pair
from mlsys.distance.reductions import Reduction, Running, Shape
from mlsys.distance.source import Source
from mlsys.distance.threads import pool
from mlsys.errors import UserError

CHUNK_BYTES = {"cuda": 16 << 20, "cpu": 8 << 20}  # of one vector; experiments/h100_streaming has other sizes
FILLERS = 8  # threads that read; each piece of a vector is read in FILLERS / 2 parts


@dataclass
class Slot:
    """Room for one piece of both vectors, and on a GPU the events that say when it is free again."""

    host: torch.Tensor  # (2, chunk_n), as `device`
    device: torch.Tensor
    copied: torch.cuda.Event | None = None
    reduced: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Return when the host's room may be filled: its last copy is done."""
        if self.copied is not None:
            self.copied.synchronize()


@dataclass
class StreamPlan:
    """A distance of two sources; each call reads them anew and gives bitwise what vectors in memory would
    give."""

    x: Source
    y: Source
    running: Running
    device: torch.device
    chunk_n: int
    device_bytes: int
    pinned_bytes: int
    _slots: list[Slot] = field(default_factory=list, repr=False)
    _copies: torch.cuda.Stream | None = field(default=None, repr=False)

    @property
    def reduction(self) -> str:
        """Name of the reduction that runs."""
        return self.running.name

    @property
    def relayed(self) -> bool:
        """Whether the calling thread copies from memory while another enqueues; else a pool reads ahead."""
        return self.device.type == "cuda" and self.x.in_memory and self.y.in_memory

    @isolated
    def __call__(self) -> torch.Tensor:
        """Compute; 0-d tensor on the device. Returns when the last piece has been read and enqueued."""
        if not self._slots:
            self._slots = [self._slot() for _ in range(self.running.slots)]
            if self.device.type == "cuda":
                self._copies = torch.cuda.Stream(self.device)
                here = torch.cuda.current_stream(self.device)
                self._copies.wait_stream(here)  # the slots' memory may be in use there
        starts = range(0, max(self.x.n, 1), self.chunk_n)
        pieces = ((start, min(start + self.chunk_n, self.x.n)) for start in starts)
        if self.relayed:
            here = torch.cuda.current_stream(self.device)
            relay(pieces, self._slots, self._fill, partial(self._carry, here))
        else:
            self._read_ahead(pieces)
        return self.running.finish()

    def _fill(self, slot: Slot, piece: tuple[int, int]) -> None:
        """Read a piece into the slot's host memory by torch's threads, as soon as its last copy is done."""
        slot.wait()
        for source, host in zip((self.x, self.y), slot.host, strict=True):
            source.read(*piece, host[: piece[1] - piece[0]])

    def _carry(self, stream: torch.cuda.Stream, slot: Slot, piece: tuple[int, int]) -> None:
        torch.cuda.set_stream(stream)  # of the carrying thread
        self._reduce(slot, *piece)

    def _read_ahead(self, pieces: Iterable[tuple[int, int]]) -> None:
        waiting: deque[tuple[Slot, tuple[int, int], list[Future[None]]]] = deque()
        for i, piece in enumerate(pieces):
            slot = self._slots[i % len(self._slots)]
            waiting.append((slot, piece, self._begin_to_fill(slot, *piece)))
            if len(waiting) == len(self._slots):
                self._reduce_read(*waiting.popleft())
        while waiting:
            self._reduce_read(*waiting.popleft())

    def _begin_to_fill(self, slot: Slot, start: int, stop: int) -> list[Future[None]]:
        """The same by the threads of a pool, that begin now."""
        slot.wait()
        fillers = pool("mlsys-fill", FILLERS)
        part = max(1, -(-(stop - start) // (FILLERS // 2)))
        return [
            fillers.submit(
                source.read, begin, end := min(begin + part, stop), host[begin - start : end - start]
            )
            for source, host in zip((self.x, self.y), slot.host, strict=True)
            for begin in range(start, stop, part)
        ]

    def _reduce_read(self, slot: Slot, piece: tuple[int, int], reads: list[Future[None]]) -> None:
        for read in reads:
            read.result()
        self._reduce(slot, *piece)

    def _reduce(self, slot: Slot, start: int, stop: int) -> None:
        """Take in a piece that has been read; on a GPU only enqueue its copy and its kernel."""
        n = stop - start
        if self._copies is None or slot.copied is None or slot.reduced is None:
            self.running.add(slot.host[0, :n], slot.host[1, :n], start)
            return
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(slot.reduced)
            if n == self.chunk_n:
                slot.device.copy_(slot.host, non_blocking=True)
            else:
                for target, origin in zip(slot.device, slot.host, strict=True):
                    target[:n].copy_(origin[:n], non_blocking=True)
            slot.copied.record(self._copies)
        here = torch.cuda.current_stream(self.device)
        here.wait_event(slot.copied)
        self.running.add(slot.device[0, :n], slot.device[1, :n], start)
        slot.reduced.record(here)

    def _slot(self) -> Slot:
        on_gpu = self.device.type == "cuda"
        host = torch.empty(2, self.chunk_n, dtype=self.x.dtype, pin_memory=on_gpu)
        if not on_gpu:
            return Slot(host, host)
        copied, reduced = torch.cuda.Event(), torch.cuda.Event()
        return Slot(host, torch.empty_like(host, device=self.device, pin_memory=False), copied, reduced)


@isolated
def stream(
    x: Source,
    y: Source,
    metric: str | Metric = "l2",
    reduction: str | Reduction = "auto",
    device: torch.device | str = "cpu",
    memory_budget: int = 1 << 30,
) -> StreamPlan:
    """Plan the distance of two sources of one length and dtype on `device`.

    memory_budget: bytes of device and page-locked memory (on a CPU: of buffers) that the pieces may take
    together. Raises UserError for sources that do not match, a budget below one piece, or a reduction that
    cannot run there.
    """
    check_pair(x.n, y.n, x.dtype, y.dtype)
    place = torch.empty(0, device=device).device  # with its index
    running = reductions.get(reduction).start(Shape(x.n, x.dtype, place), metrics.get(metric))
    on_gpu = place.type == "cuda"
    copies = running.slots * (2 if on_gpu else 1)  # of a piece of both vectors
    bytes_per_element = 2 * x.dtype.itemsize * copies
    least = running.align * bytes_per_element
    if memory_budget < least:
        raise UserError(f"memory_budget={memory_budget} bytes is too small: the least pieces take {least}")
    chunk = max(1, min(memory_budget // least, CHUNK_BYTES[place.type] // x.dtype.itemsize // running.align))
    needed = -(-max(x.n, 1) // running.align)
    chunk_n = min(chunk, needed) * running.align
    taken = running.slots * 2 * x.dtype.itemsize * chunk_n
    return StreamPlan(x, y, running, place, chunk_n, taken if on_gpu else 0, taken if on_gpu else 0)
