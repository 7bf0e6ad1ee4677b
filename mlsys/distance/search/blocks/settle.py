"""From proposed candidates to the certain answer: recompute, sort, prove; where the proof fails, look again.

Nothing here trusts an approximate score further than its error bound, so the answer is to the index that of a
float64 search, and rows of equal distance come by their lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.language import why_not
from mlsys.distance.search.blocks.scores import Scorer
from mlsys.distance.search.blocks.select import best
from mlsys.distance.search.kernels import rescore
from mlsys.distance.search.ranking import Ranking, nearest

STEP_BYTES = 64 << 20
CACHE_BYTES = 1 << 20
BLOCK_SCORES = 1 << 23
MARGIN = 8


@dataclass
class Candidates:
    """Rows that may be the nearest, `index` (Q, m); no other scores above `cut` (Q,), None: none is left."""

    index: torch.Tensor
    cut: torch.Tensor | None


def margin(k: int, rows: int) -> int:
    """How many candidates to take for the k nearest."""
    return min(rows, k + max(MARGIN, k // 4))


def propose(
    scorer: Scorer, queries: torch.Tensor, rows: int, m: int, allowed: torch.Tensor | None = None
) -> Candidates:
    """The m best-scored rows of each query, block by block of rows with a running selection.

    allowed: (Q, rows) bool, the rows that count; all others come after them.
    """
    if m == rows:
        return Candidates(torch.arange(rows, device=queries.device).expand(len(queries), -1), None)
    first, *others = blocks(len(queries), rows)
    values, index = best(_scores(scorer, queries, *first, allowed), min(m, first[1]))
    for start, stop in others:
        new, columns = best(_scores(scorer, queries, start, stop, allowed), min(m, stop - start))
        values, index = torch.cat([values, new], 1), torch.cat([index, columns + start], 1)
        if values.shape[1] > m:
            values, kept = torch.topk(values, m, dim=1, sorted=False)
            index = index.gather(1, kept)
    return Candidates(index, values.amin(1).double())


def _scores(
    scorer: Scorer, queries: torch.Tensor, start: int, stop: int, allowed: torch.Tensor | None
) -> torch.Tensor:
    """Scores (Q, stop - start); -inf for rows that do not count, and for no other."""
    scores = scorer.block(queries, start, stop)
    if allowed is None:
        return scores
    lowest = torch.finfo(scores.dtype).min
    return scores.clamp_(min=lowest).masked_fill_(~allowed[:, start:stop], -torch.inf)


def blocks(queries: int, rows: int) -> list[tuple[int, int]]:
    """Row ranges for which the scores of all queries take a bounded space."""
    count = max(4096, BLOCK_SCORES // queries)
    return [(start, min(start + count, rows)) for start in range(0, rows, count)]


def settle(
    ranking: Ranking,
    rows: torch.Tensor,
    scorer: Scorer,
    queries: torch.Tensor,
    lengths: torch.Tensor,
    found: Candidates,
    k: int,
    allowed: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest of each query: keys (Q, k) float64 ascending and rows (Q, k) int64, certainly.

    `lengths` is what the scorer says of the queries. `allowed`: see `propose`; where fewer rows count than k, the keys
    of the rest are nan.
    """
    keys, index = _order(ranking, rows, queries, found.index, k, allowed)
    if found.cut is None:
        return keys, index
    floor = scorer.floor(queries, lengths, keys[:, -1])
    unsure = (found.cut >= floor).nonzero()[:, 0]
    if len(unsure):
        keys[unsure], index[unsure] = _scan(
            ranking, rows, scorer, queries[unsure], floor[unsure], k,
            None if allowed is None else allowed[unsure],
        )  # fmt: skip
    return keys, index


def _order(
    ranking: Ranking,
    rows: torch.Tensor,
    queries: torch.Tensor,
    index: torch.Tensor,
    k: int,
    allowed: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort candidates (Q, m) by key, then by index, and keep k."""
    index = index.sort(1).values
    if not rows.is_cuda and 8 * index.shape[1] * rows.shape[1] <= STEP_BYTES:
        keys = _keys(ranking, rows, queries, index)
    else:
        line = torch.arange(len(index), device=index.device)[:, None].expand_as(index)
        keys = pair_keys(ranking, queries, rows, line.flatten(), index.flatten()).view_as(index)
    if allowed is not None:
        keys.masked_fill_(~allowed.gather(1, index), torch.nan)  # which sorts after every key
    keys, order = torch.sort(keys, dim=1, stable=True)
    return keys[:, :k].clone(), index.gather(1, order[:, :k])


def _keys(ranking: Ranking, rows: torch.Tensor, queries: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """As `pair_keys`, without a copy of a query for each of its candidates, in pieces that stay in a core's cache."""
    keys = torch.empty(index.shape, dtype=torch.float64)
    count = max(1, CACHE_BYTES // (8 * index.shape[1] * rows.shape[1]))
    for start in range(0, len(index), count):
        some = slice(start, start + count)
        keys[some] = ranking.keys(queries[some, None].double(), rows[index[some]].double())
    return keys


def pair_keys(
    ranking: Ranking, queries: torch.Tensor, rows: torch.Tensor, line: torch.Tensor, row: torch.Tensor
) -> torch.Tensor:
    """Keys (P,) float64 of pairs of a query and a row, equal for equal rows."""
    if rows.is_cuda and why_not("cuda") is None:
        return rescore.pair_keys(ranking.name, queries, rows, line, row)
    keys = torch.empty(len(line), dtype=torch.float64, device=rows.device)
    width = max(1, STEP_BYTES // (24 * rows.shape[1]))
    for start in range(0, len(line), width):
        some = slice(start, start + width)
        keys[some] = ranking.keys(queries[line[some]].double(), rows[row[some]].double())
    return keys


def _scan(
    ranking: Ranking,
    rows: torch.Tensor,
    scorer: Scorer,
    queries: torch.Tensor,
    floor: torch.Tensor,
    k: int,
    allowed: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Recompute every row that scores at or above `floor`: at least k do, all the nearest among them."""
    line = torch.empty(0, dtype=torch.int64, device=rows.device)
    key, index = line.double(), line
    width = max(1, STEP_BYTES // (24 * rows.shape[1]))
    for start, stop in blocks(len(queries), len(rows)):
        hits = (_scores(scorer, queries, start, stop, allowed) >= floor[:, None]).nonzero()
        for some in hits.split(width):
            row = some[:, 1] + start
            found = pair_keys(ranking, queries, rows, some[:, 0], row)
            if allowed is not None:
                found = found.masked_fill(~allowed[some[:, 0], row], torch.nan)
            line, key, index = nearest(
                torch.cat([line, some[:, 0]]), torch.cat([key, found]), torch.cat([index, row]), k
            )
    return key.view(len(queries), k), index.view(len(queries), k)
