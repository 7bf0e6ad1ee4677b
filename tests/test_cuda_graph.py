"""Graphs are captured one after the other on each GPU, each with its owner's memory."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from mlsys.cuda_graph import GraphPool

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")


def test_a_replay_writes_anew_what_the_work_gave() -> None:
    x = torch.ones(1000, device=GPU)
    graph, found = GraphPool(GPU).capture(lambda: (x * 2).sum())
    x.fill_(3)
    graph.replay()
    assert found.item() == 6000


def test_threads_capture_while_others_compute() -> None:
    sums: dict[int, float] = {}

    def work(number: int) -> None:
        x = torch.full((256, 256), float(number), device=GPU)
        eye = torch.eye(256, device=GPU)
        pool = GraphPool(GPU)
        for _ in range(10):
            graph, found = pool.capture(lambda: x @ eye)
            graph.replay()
            eager = (x @ eye).sum()
            torch.cuda.current_stream().synchronize()
            assert found.sum().item() == eager.item() == 256 * 256 * number
        sums[number] = found.sum().item()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sums) == list(range(4))


def test_a_graph_that_nothing_refers_to_is_not_freed_during_a_capture() -> None:
    """CUDA ends a capture whose thread frees another graph, and Python frees cycles when it likes."""
    x, before = torch.ones(1000, device=GPU), gc.get_threshold()
    others = [GraphPool(GPU).capture(lambda: x * 3)[0]]

    def work() -> torch.Tensor:
        cycle: list[object] = [others.pop()]
        cycle.append(cycle)
        del cycle
        kept = [[number] for number in range(1000)]  # Python looks for cycles after so many new objects
        return x * len(kept)

    gc.set_threshold(10)
    try:
        graph, found = GraphPool(GPU).capture(work, warm=False)
    finally:
        gc.set_threshold(*before)
    graph.replay()
    assert found.sum().item() == 1e6
    assert gc.isenabled()
