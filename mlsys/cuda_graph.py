"""Work on fixed tensors as a CUDA graph: one launch where there were many.

A small model's step and a small search take longer to launch than to compute. All graphs are captured here, in one way.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")

_capturing = threading.Lock()  # of many streams that were handed out, two may be the same


@contextmanager
def _nothing_swept() -> Iterator[None]:
    """Keep Python from freeing cycles of objects: a graph among them, freed by this thread, ends its capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class GraphPool:
    """What one owner's graphs share: their memory, and the stream that they are captured on. No two may run at once.

    The stream is the owner's, so that the workspaces which libraries keep for it are too. Its priority is high: torch
    hands out ordinary streams in turn, so another thread may be using any of them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = torch.cuda.current_device() if device.index is None else device.index
        self._stream = torch.cuda.Stream(self._device, priority=-1)
        self._memory = torch.cuda.graph_pool_handle()

    def capture(self, work: Callable[[], Result], warm: bool = True) -> tuple[torch.cuda.CUDAGraph, Result]:
        """`work` as a graph, and what it gave: each replay writes that anew. Other threads go on meanwhile.

        warm: run it once before, which compiles, and allocates what a graph must not. Raises what `work` raises, and
        RuntimeError for what cannot be captured.
        """
        before, graph = torch.cuda.current_stream(self._device), torch.cuda.CUDAGraph()
        with _capturing, torch.cuda.stream(self._stream):
            self._stream.wait_stream(before)
            if warm:
                work()
            with _nothing_swept():
                graph.capture_begin(self._memory, capture_error_mode="thread_local")
                try:
                    found = work()
                finally:
                    graph.capture_end()
        before.wait_stream(self._stream)
        return graph, found
