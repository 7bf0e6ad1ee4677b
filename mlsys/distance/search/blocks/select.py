"""Pick the m best of very many scores without sorting them: they lie in the m groups with the best maxima."""

from __future__ import annotations

import torch

GROUP = 32


def best(scores: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m largest of each line of `scores` (Q, R), unordered: values (Q, m) and columns (Q, m) int64.

    Needs 1 <= m <= R. Which of equal scores is taken is left open.
    """
    lines, width = scores.shape
    groups = width // GROUP
    if groups <= 2 * m:
        return _top(scores, m)
    _, chosen = _top(_maxima(scores, groups), m)
    inside = torch.arange(GROUP, device=scores.device)
    columns = (chosen[:, :, None] * GROUP + inside).flatten(1)
    if groups * GROUP < width:
        tail = torch.arange(groups * GROUP, width, device=scores.device).expand(lines, -1)
        columns = torch.cat([columns, tail], 1)
    values, position = _top(scores.gather(1, columns), m)
    return values, columns.gather(1, position)


def _maxima(scores: torch.Tensor, groups: int) -> torch.Tensor:
    """Of each group of neighbouring columns (Q, groups), read in the order in which the scores lie."""
    if scores.is_contiguous():
        return scores[:, : groups * GROUP].view(len(scores), groups, GROUP).amax(-1)
    return scores.T[: groups * GROUP].view(groups, GROUP, len(scores)).amax(1).T


def _top(scores: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, columns = torch.topk(scores, m, dim=1, sorted=False)
    return values, columns
