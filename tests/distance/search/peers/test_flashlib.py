"""FlashLib as a peer: what it is asked, how its answer is read, and why it is left out."""

from __future__ import annotations

import pytest
import torch
from on_gpu import OnGpu, library, problem

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers import Problem
from mlsys.distance.search.peers.flashlib import flashlib


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

    library(monkeypatch, "flashlib.primitives.knn", flash_knn=flash_knn)
    peer = flashlib(problem(OnGpu, "sqeuclidean"))
    assert peer.found is not None
    assert peer.found(peer.call()).tolist() == [[2, 0]]
