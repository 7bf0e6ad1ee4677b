"""Work on fixed tensors as a CUDA graph: a small model's step on a large GPU is spent launching kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def recorded(work: Callable[[], None], device: torch.device, pool: Any) -> Callable[[], None]:
    """`work` as a CUDA graph with memory of `pool`; without CUDA `work` itself."""
    if device.type != "cuda":
        return work
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # allocates and initialises what a graph must not
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # torch's own stream for this lies on the GPU that captured first, and other workers go on meanwhile
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph.replay
