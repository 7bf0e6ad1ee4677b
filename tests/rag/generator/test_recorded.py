"""A graph is captured on the GPU of its worker, whichever captured first."""

from __future__ import annotations

import pytest
import torch

from mlsys.rag.generator.recorded import pool_on, recorded

CPU = torch.device("cpu")


def test_without_a_gpu_the_work_itself_is_done_each_time() -> None:
    x = torch.zeros(3)

    def add() -> None:
        x.add_(1)

    work = recorded(add, pool_on(CPU))
    work()
    work()
    assert x.tolist() == [2, 2, 2]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="takes two GPUs")
def test_each_gpu_of_a_process_has_graphs_of_its_own() -> None:
    for number in (0, 1, 0):
        torch.cuda.set_device(number)
        device = torch.device("cuda", number)
        x, y = torch.zeros(64, 64, device=device), torch.eye(64, device=device)

        def add(x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            x.add_(y @ y)

        work = recorded(add, pool_on(device))
        x.zero_()
        work()
        work()
        assert x.trace().item() == 128
    torch.cuda.set_device(0)
