"""The workers of one service, each with a GPU of its own where there are several; a CPU stands in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mlsys import signatures
from mlsys.defaults import section
from mlsys.serving.modes import Parts
from mlsys.serving.scheduler import Scheduler


class Piped:
    """A pipeline that was asked for on whichever GPU."""

    device = "cuda"


def test_each_worker_has_a_gpu_and_the_first_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    nothing: Any = None
    parts = Parts(lambda: Piped(), nothing, nothing, nothing, {}, Path())  # type: ignore[return-value, arg-type]
    service = signatures.make("server", section("server", "queue") | {"workers": 3}).service(parts)
    assert isinstance(service, Scheduler)
    assert [worker.pipeline.device for worker in service.workers] == ["cuda:0", "cuda:1", "cuda:0"]
