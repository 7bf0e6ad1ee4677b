"""FlashLib as a peer: what it is asked, how its answer is read, and why it is left out."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers import Problem, flashlib


class OnGpu(Problem):
    @property
    def on_gpu(self) -> bool:
        return True


def problem(kind: type[Problem], form: str) -> Problem:
    rows = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
    return kind(torch.tensor([[0.9, 0.0]]), rows, 2, form)


@pytest.mark.parametrize(
    ("kind", "form", "said"),
    [
        (Problem, "l2", "flashlib: measured on a GPU"),
        (OnGpu, "cosine", "flashlib: it has no cosine"),
        (OnGpu, "l2", "flashlib is not installed: "),
    ],
)
def test_it_is_left_out_with_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[Problem], form: str, said: str
) -> None:
    monkeypatch.setattr(extras, "absent", lambda module: f"{module} is not installed: …")
    with pytest.raises(Unavailable, match=said):
        flashlib(problem(kind, form))


def test_it_gives_distances_and_row_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def flash_knn(x: torch.Tensor, c: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = torch.cdist(x, c).square().topk(k, largest=False)
        return found.values, found.indices

    for name in ("flashlib", "flashlib.primitives", "flashlib.primitives.knn"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.flash_knn = flash_knn  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    peer = flashlib(problem(OnGpu, "sqeuclidean"))
    assert peer.found is not None
    assert peer.found(peer.call()).tolist() == [[2, 0]]
