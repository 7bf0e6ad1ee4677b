"""Work on fixed tensors as a CUDA graph: one launch where there were many.

A small model's step and a small search take longer to launch than to compute. All graphs are captured here, in one way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

# Of each GPU: of many streams that were handed out, two may be the same.
_capturing: dict[int, threading.Lock] = {}


class GraphPool:
    """What one owner's graphs share: their memory, and the stream that they are captured on. No two may run at once.

    The stream is the owner's, so that the workspaces which libraries keep for it are too. Its priority is high: torch
    hands out ordinary streams in turn, so another thread may be using any of them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = torch.cuda.current_device() if device.index is None else device.index
        self._stream = torch.cuda.Stream(self._device, priority=-1)
        self._memory = torch.cuda.graph_pool_handle()
        self._lock = _capturing.setdefault(self._device, threading.Lock())

    def capture(self, work: Callable[[], Result], warm: bool = True) -> tuple[torch.cuda.CUDAGraph, Result]:
        """`work` as a graph, and what it gave: each replay writes that anew. Other threads go on meanwhile.

        warm: run it once before, which compiles, and allocates what a graph must not. Raises what `work` raises, and
        RuntimeError for what cannot be captured.
        """
        before, graph = torch.cuda.current_stream(self._device), torch.cuda.CUDAGraph()
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(before)
            if warm:
                work()
            graph.capture_begin(self._memory, capture_error_mode="thread_local")
            try:
                found = work()
            finally:
                graph.capture_end()
        before.wait_stream(self._stream)
        return graph, found
