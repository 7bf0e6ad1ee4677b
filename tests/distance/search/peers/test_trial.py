"""The first call of each peer: what stands in the record, whatever another's library does."""

from __future__ import annotations

import numpy as np
import pytest
from on_gpu import problem

from mlsys.distance.search import peers
from mlsys.distance.search.peers import Peer, Problem
from mlsys.distance.search.peers.trial import tried


def test_who_fails_is_told_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class LibraryError(Exception):
        pass

    def fails() -> None:
        raise LibraryError("\nout of memory\nat line 7")

    monkeypatch.setitem(peers.PEERS, "fails", lambda problem: Peer(fails, "fails()"))
    monkeypatch.setitem(peers.PEERS, "half", lambda problem: Peer(lambda: [[2, 1]], "half()", np.asarray))
    found, values = tried(
        ["fails", "half", "torch_matmul"], problem(Problem, "l2"), np.array([0]), np.array([[2, 0]])
    )
    assert list(found) == ["half", "torch_matmul"]
    firsts = [values.pop(f"baseline.{name}.first_call_ms") for name in found]
    assert all(isinstance(first, float) and first > 0 for first in firsts)
    assert values == {
        "baseline.fails.error": "out of memory",
        "baseline.half.expression": "half()",
        "baseline.half.recall": 0.5,
        "baseline.torch_matmul.expression": "torch.matmul(x, y.T)",
    }
