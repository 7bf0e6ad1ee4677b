"""The last word on candidates: recomputed in pieces, wherever those end."""

from __future__ import annotations

import pytest
import torch

from mlsys.distance.search import Index
from mlsys.distance.search.blocks import settle
from mlsys.distance.search.ranking import RANKINGS


@pytest.mark.parametrize("metric", sorted(RANKINGS))
@pytest.mark.parametrize("cache_bytes", [1, 5_000, 40_000])
def test_the_pieces_in_which_candidates_are_recomputed_change_no_bit(
    metric: str, cache_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    rows = torch.randn(300, 33).repeat_interleave(2, 0)  # each row twice: they tie, and the lower goes first
    queries = torch.randn(7, 33)
    index = Index(rows, metric)
    distances, found = index.search(queries, 9)
    monkeypatch.setattr(settle, "CACHE_BYTES", cache_bytes)
    again, found_again = index.search(queries, 9)
    assert torch.equal(torch.as_tensor(distances), torch.as_tensor(again))
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(found_again))
