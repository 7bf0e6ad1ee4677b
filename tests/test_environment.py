from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlsys import environment


def test_the_description_names_machine_software_and_commit() -> None:
    found = environment.describe()
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["cpu"]
    assert found["versions"]["torch"]
    assert set(found["git"]) == {"commit", "dirty"}
    assert len(found["load_average"]) == 3
    assert isinstance(found["busy"], bool)
    json.dumps(found)


def test_a_machine_at_work_is_called_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 100.0)
    assert environment.describe()["busy"] is True
    assert environment.describe()["busy_cores"] == cores
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 0.0)
    monkeypatch.setattr(environment, "_gpus", list)
    assert environment.describe()["busy"] is False


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert environment.git(tmp_path) == {"commit": None, "dirty": None}


def test_the_last_level_cache_is_a_cache() -> None:
    assert 2**18 <= environment.last_level_cache_bytes() <= 2**32


def test_visible_gpus_are_those_that_cuda_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nvml:
        nvmlDeviceGetCount = staticmethod(lambda: 3)

    monkeypatch.setattr(environment, "_nvml", lambda: Nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment.visible_gpus() == ["0", "1", "2"]
    for value, names in (("5, 2", ["5", "2"]), ("GPU-a1", ["GPU-a1"]), ("", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert environment.visible_gpus() == names
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(environment, "_nvml", lambda: None)
    assert environment.visible_gpus() == []
