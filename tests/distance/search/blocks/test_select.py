"""Selection by group maxima picks what sorting picks."""

from __future__ import annotations

import pytest
import torch

from mlsys.distance.search.blocks.select import GROUP, best
from mlsys.distance.search.ranking import nearest


@pytest.mark.parametrize("width", [1, 63, 64, 1000, 64 * 50, 64 * 50 + 17])
@pytest.mark.parametrize("m", [1, 7, 40])
@pytest.mark.parametrize("lines_lie_together", [True, False])
def test_the_best_scores_with_their_columns(width: int, m: int, lines_lie_together: bool) -> None:
    scores = torch.randn(3, width, generator=torch.Generator().manual_seed(width))
    scores = scores if lines_lie_together else scores.T.contiguous().T
    m = min(m, width)
    values, columns = best(scores, m)
    assert torch.equal(values.sort(1, descending=True).values, scores.sort(1, descending=True).values[:, :m])
    assert torch.equal(scores.gather(1, columns), values)
    assert GROUP > 1


def test_minus_infinity_everywhere_but_in_a_few_places() -> None:
    scores = torch.full((1, 64 * 40), -torch.inf)
    scores[0, [5, 64 * 39]] = torch.tensor([1.0, 2.0])
    assert best(scores, 2)[0].sort().values.tolist() == [[1.0, 2.0]]


def test_nearest_keeps_each_query_apart_and_equal_keys_in_order() -> None:
    query = torch.tensor([1, 0, 0, 1, 0])
    key = torch.tensor([2.0, 5.0, 5.0, 2.0, 1.0], dtype=torch.float64)
    index = torch.tensor([9, 8, 3, 4, 7])
    lines, keys, rows = nearest(query, key, index, 2)
    assert lines.tolist() == [0, 0, 1, 1]
    assert keys.tolist() == [1.0, 5.0, 2.0, 2.0]
    assert rows.tolist() == [7, 3, 4, 9]
