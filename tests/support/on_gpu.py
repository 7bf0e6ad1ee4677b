"""Peers of searches on a GPU without one: a problem that says it lies there, and doubles of libraries."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch

from mlsys.distance.search.peers import Problem


class OnGpu(Problem):
    """Says that it lies on a GPU."""

    @property
    def on_gpu(self) -> bool:
        """It does not."""
        return True


def problem(kind: type[Problem], form: str, dtype: torch.dtype = torch.float32) -> Problem:
    """One query whose nearest rows are 2 and 0 by every distance, 1 and 2 by the inner product."""
    rows = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
    return kind(torch.tensor([[0.9, 0.0]]).to(dtype), rows.to(dtype), 2, form)


def library(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """A double of the module `name`, and of the packages that it lies in."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        module = ModuleType(path)
        module.__spec__ = ModuleSpec(path, None, is_package=True)
        vars(module).update(members if end == len(parts) else {})
        monkeypatch.setitem(sys.modules, path, module)
        if end > 1:
            monkeypatch.setattr(
                sys.modules[".".join(parts[: end - 1])], parts[end - 1], module, raising=False
            )
