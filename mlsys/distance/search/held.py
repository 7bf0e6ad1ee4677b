"""Rows that do not change, and the ways to search them: kernels, one pass, or blocks where neither can."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys.distance.language import why_not
from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer, check_squares
from mlsys.distance.search.blocks.settle import margin, propose, settle
from mlsys.distance.search.compiled import onepass
from mlsys.distance.search.inputs import result_dtype
from mlsys.distance.search.kernels.graphs import Replays
from mlsys.distance.search.kernels.launch import placed
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.screen import may_screen
from mlsys.distance.search.ranking import Ranking
from mlsys.errors import UserError

QUERY_BLOCK = 256
FEW_ALLOWED = 0.25  # of the rows: so many are searched by themselves, which copies them
METHODS = ("auto", "kernels", "compiled", "blocks")


class Held:
    """Searches rows (N, d), contiguous, after reading them once. Queries (Q, d) are checked ones on the rows' device.

    Args:
        rows, asked, screen: see `Index`; `asked` is its method.
        ranking: how they are ordered.
    """

    def __init__(self, rows: torch.Tensor, ranking: Ranking, asked: str, screen: str = "none") -> None:
        self.ranking, self.asked = ranking, asked
        self.method = _method(asked, rows)
        kernels, screened = self.method == "kernels", may_screen(screen, self.method, ranking.name, rows)
        self.rows = placed(rows) if kernels else rows
        self.doubtful = self.rescanned = 0  # see `Index`
        self._scorer = scorer = scorer_of(self.rows, ranking.name)
        self._kernels = KernelSearch(self.rows, ranking.name, scorer, screened) if kernels else None
        self.replays = Replays(self._kernels) if self._kernels else None
        self._onepass = onepass.OnePass(scorer) if self.method == "compiled" else None

    @property
    def screen_bytes(self) -> int:
        """Of device memory that an int8 copy takes; 0 where there is none."""
        screen = self._kernels.screen if self._kernels else None
        return screen.extra_bytes if screen else 0

    def distances(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances and places, each (Q, k)."""
        found = self.replays.nearest(queries, k) if self.replays else None
        if found is None:
            _, distances, index = self.nearest(queries, k)
            return distances, index
        distances, index, self.doubtful = found.distances, found.rows, found.doubtful
        if doubt := self._in_doubt(found.status, queries, k):
            lines, _, distances[lines], index[lines] = doubt
        return distances, index

    def keys(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, and places, each (Q, k)."""
        found = self.replays.nearest(queries, k, with_keys=True) if self.replays else None
        if found is None or found.keys is None:
            keys, _, index = self.nearest(queries, k)
            return keys, index
        keys, index, self.doubtful = found.keys, found.rows, found.doubtful
        if doubt := self._in_doubt(found.status, queries, k):
            lines, keys[lines], _, index[lines] = doubt
        return keys, index

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, distances and places, each (Q, k)."""
        self.doubtful = self.rescanned = 0
        if self._kernels is None or not self._kernels.can(queries, k):
            keys, index = self._certain(queries, k)
            return keys, self._finished(keys, queries), index
        count = self._kernels.most_queries(len(queries), k)
        parts = [self._kernel_block(self._kernels, some, k) for some in _split(queries, count)]
        keys, distances, index, status = (_joined(list(each)) for each in zip(*parts, strict=True))
        if doubt := self._in_doubt(status.numpy(), queries, k):
            lines, keys[lines], distances[lines], index[lines] = doubt
        return keys, distances, index

    def among(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances and places (Q, k) among the rows that are allowed, (N,) or (Q, N) bool; see `Index.search`."""
        self.doubtful = self.rescanned = 0
        allowed = allowed.to(queries.device)
        few = allowed.nonzero()[:, 0] if allowed.dim() == 1 else None
        if few is not None and k <= len(few) <= FEW_ALLOWED * len(self.rows):
            part = Held(self.rows[few], self.ranking, self.asked)
            _, distances, index = part.nearest(queries, k)
            return distances, few[index]
        keys, index = self._certain(queries, k, allowed.expand(len(queries), -1))
        absent = keys.isnan()
        distances = self._finished(keys, queries).masked_fill(absent, torch.nan)
        return distances, index.masked_fill(absent, -1)

    def warm(self, queries: torch.Tensor, k: int) -> None:
        """Compile all that a search of queries like these takes, also where lines are in doubt, and capture it."""
        if self._kernels is not None and self._kernels.can(queries, k):
            self._kernels.warm(queries[: self._kernels.most_queries(len(queries), k)], k)
            self._certain(queries[:1], k)
        for _ in range(2):  # a shape is captured when it comes again
            self.distances(queries, k)

    def _kernel_block(
        self, kernels: KernelSearch, queries: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys, distances, places and status of one block, after a second choice for lines in doubt."""
        found = kernels.nearest(queries, k)
        if queries.is_cuda:
            torch.cuda.current_stream(queries.device).synchronize()
        keys, distances, index, status = found.keys, found.distances, found.index, found.status
        doubt = status.nonzero()[:, 0].to(queries.device)
        self.doubtful += len(doubt)
        kernels.learn(len(doubt), len(queries))
        for some, again in kernels.second(found, doubt, k):
            keys[some], distances[some], index[some] = again.keys, again.distances, again.index
            status[some.cpu()] = again.status
        return keys, distances, index, status

    def _in_doubt(
        self, status: np.ndarray[Any, Any], queries: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Of the queries whose status is not 0, if any: which they are, and their keys, distances and places."""
        self.rescanned = int(np.count_nonzero(status))
        if not self.rescanned:
            return None
        lines = torch.from_numpy(status.nonzero()[0]).to(queries.device)
        keys, index = self._certain(queries[lines], k)
        return lines, keys, self._finished(keys, queries), index

    def _finished(self, keys: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        return self.ranking.finish(keys).to(result_dtype(queries, self.rows))

    def _certain(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and places (Q, k); `allowed` (Q, N): which rows count, the keys of others are nan and come last."""
        masks = [None] * len(queries) if allowed is None else allowed.split(QUERY_BLOCK)
        parts = [
            self._certain_block(some, k, mask, block * QUERY_BLOCK)
            for block, (some, mask) in enumerate(zip(_split(queries, QUERY_BLOCK), masks, strict=False))
        ]
        return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])

    def _certain_block(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor | None, first: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(queries.dtype, self.rows.dtype)
        queries = queries.to(torch.promote_types(exact, torch.float32))
        lengths = self._scorer.lengths(queries)
        # a float64 query's length may overflow although its elements do not
        if not (bool(torch.isfinite(lengths).all()) or bool(torch.isfinite(queries).all())):
            raise UserError("queries hold nan or infinity")
        if self.ranking.squared:
            check_squares("queries", queries, lengths, first)
        queries = queries.to(self._scorer.precision(queries, lengths))
        m = margin(k, len(self.rows))
        found = self._onepass.propose(queries, m) if self._onepass and allowed is None else None
        if found is None:
            found = propose(self._scorer, queries, len(self.rows), m, allowed)
        return settle(self.ranking, self.rows, self._scorer, queries, lengths, found, k, allowed)


def scorer_of(rows: torch.Tensor, metric: str) -> ProductScorer | MaximumScorer:
    """What scores rows (N, d) for a form of search, after reading them once."""
    return MaximumScorer.of(rows) if metric == "l1" else ProductScorer.of(rows, metric)


def _method(method: str, rows: torch.Tensor) -> str:
    if method not in METHODS:
        raise UserError(f"method={method} must be one of {', '.join(METHODS)}")
    reason = why_not(rows.device.type)
    if reason is None and rows.dtype == torch.int8:
        reason = "take no int8 rows; use method=blocks or auto"
    if method == "kernels" and reason is not None:
        raise UserError(f"method=kernels {reason}".replace("reduction=blocked", "method=blocks"))
    if method == "compiled" and not onepass.can(rows):
        raise UserError(
            "method=compiled searches on a CPU, with Numba, and no float64 rows; use method=blocks"
        )
    if method != "auto":
        return method
    if rows.is_cuda and reason is None:
        return "kernels"
    return "compiled" if onepass.worth(rows) and onepass.can(rows) else "blocks"


def _split(queries: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    return queries.split(count)  # type: ignore[no-any-return]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
