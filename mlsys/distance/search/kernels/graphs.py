"""Searches in CUDA graphs: one launch where there were four, which on a slow host take longer than the kernels.

A graph reads and writes fixed places, so the queries are copied in and the results out, on the stream of the search.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import torch

from mlsys.cuda_graph import GraphPool
from mlsys.distance.launch import current_stream
from mlsys.distance.search.kernels.found import Nearest, parts
from mlsys.distance.search.kernels.passes import KernelSearch

MOST_GRAPHS = 64
LOOKS = 300  # at the status before the thread goes to sleep; some hundred microseconds
UNKNOWN = -1
MOST_BYTES = 64 << 20  # of workspace, which graphs share; a search that needs more outlasts its launches
Shape = tuple[int, int, torch.dtype, int, bool]
Status = np.ndarray[Any, np.dtype[np.int32]]


class Found(NamedTuple):
    """Distances (Q, k) float32 and row numbers (Q, k) int64, and `status` (Q,) int32 on the host: see `Nearest`.

    `doubtful`: how many lines were in doubt before they got a second choice. `keys` (Q, k) float64 where asked for.
    """

    distances: torch.Tensor
    rows: torch.Tensor
    status: Status
    doubtful: int
    keys: torch.Tensor | None = None


class Replays:
    """Captures a shape of queries when it comes for the second time and replays it from then on.

    Graphs are kept for the last MOST_GRAPHS shapes, each on the stream it was searched on. Threads may call together:
    one replays, the others get None and search without. A replay has ended before the next begins, so all graphs share
    the memory of one.
    """

    def __init__(self, kernels: KernelSearch) -> None:
        self.kernels = kernels
        self.kept: OrderedDict[Shape, _Captured | None] = OrderedDict()  # None: came once
        self.enabled = kernels.rows.is_cuda
        self._pool = GraphPool(kernels.rows.device) if self.enabled else None
        self._lock = threading.Lock()

    def nearest(self, queries: torch.Tensor, k: int, with_keys: bool = False) -> Found | None:
        """The search of queries (Q, d), waited for; None where it has no graph."""
        if not self.enabled or not self._lock.acquire(blocking=False):
            return None
        try:
            captured = self._captured(queries, k)
            if captured is None:
                return None
            return self._second(captured, captured.replay(queries, with_keys), k)
        finally:
            self._lock.release()

    def _second(self, captured: _Captured, found: Found, k: int) -> Found:
        """With a second choice for lines in doubt, while the maxima of this replay are still there."""
        self.kernels.learn(found.doubtful, len(found.status))
        if not found.doubtful:
            return found
        lines = torch.from_numpy(found.status.nonzero()[0]).to(found.rows.device)
        for some, again in self.kernels.second(captured.found, lines, k):
            found.distances[some], found.rows[some] = again.distances, again.index
            if found.keys is not None:
                found.keys[some] = again.keys
            found.status[some.cpu().numpy()] = again.status.numpy()
        return found

    def _captured(self, queries: torch.Tensor, k: int) -> _Captured | None:
        shape = (current_stream(queries.get_device()), len(queries), queries.dtype, k, self.kernels.close)
        captured = self.kept.get(shape)
        if captured is not None:
            self.kept.move_to_end(shape)
            return captured
        if not self._fits(queries, k):
            return None
        captured = self._capture(queries, k) if shape in self.kept else None
        self.kept[shape] = captured
        if len(self.kept) > MOST_GRAPHS:
            torch.cuda.synchronize(queries.device)  # what was copied out of the oldest may be on its way
            self.kept.popitem(last=False)
        return captured

    def _fits(self, queries: torch.Tensor, k: int) -> bool:
        count = len(queries)
        return self.kernels.can(queries, k) and count * self.kernels.query_bytes(count, k) <= MOST_BYTES

    def _capture(self, queries: torch.Tensor, k: int) -> _Captured | None:
        if self._pool is None:
            return None
        held, status = queries.clone(), torch.empty(len(queries), dtype=torch.int32, pin_memory=True)
        try:  # not warmed: the shape has come before
            graph, found = self._pool.capture(
                lambda: self.kernels.nearest(held, k, status=status), warm=False
            )
        except RuntimeError as error:
            self.enabled = False
            warnings.warn(f"searches go without CUDA graphs: {error}", RuntimeWarning, stacklevel=2)
            return None
        return _Captured(held, graph, found)


class _Captured:
    """A graph, where it reads its queries and where it writes."""

    def __init__(self, queries: torch.Tensor, graph: torch.cuda.CUDAGraph, found: Nearest) -> None:
        self.queries, self.graph, self.found = queries, graph, found
        self.status: Status = found.status.numpy()

    def replay(self, queries: torch.Tensor, with_keys: bool = False) -> Found:
        self.status[:] = UNKNOWN
        self.queries.copy_(queries)
        self.graph.replay()
        distances, index = parts(self.found.flat.clone(), *self.found.index.shape)
        keys = self.found.keys.clone() if with_keys else None
        if not any(self.status.min() != UNKNOWN for _ in range(LOOKS)):
            torch.cuda.current_stream(queries.device).synchronize()
        status = self.status.copy()
        return Found(distances, index, status, int(np.count_nonzero(status)), keys)
