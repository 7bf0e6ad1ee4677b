"""Which device is meant, alone and among several ranks."""

from __future__ import annotations

import pytest
import torch

from mlsys import device, ranks
from mlsys.errors import UserError


class Two(ranks.Group):
    rank = local_rank = 1
    size = local_size = 2


@pytest.fixture(autouse=True)
def among_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_here", [Two()])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_each_rank_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert device.resolve("auto") == torch.device("cuda", 1)
    assert current == [1]
    assert device.resolve("cpu") == torch.device("cpu")


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError, match=r"device=auto: 2 ranks on a machine with 1 GPU\(s\), which need one each"
    ):
        device.resolve("auto")


def test_the_workers_of_a_process_take_its_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.in_turn("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert device.in_turn("cpu", 2) == ["cpu", "cpu"]
    assert device.resolve("cuda:1") == torch.device("cuda", 1)
    device.enter("cuda:1")
    device.enter("cuda")
    assert current == [torch.device("cuda", 1)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.in_turn("cuda", 2) == ["cuda", "cuda"]
