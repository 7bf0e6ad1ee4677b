"""Exact nearest neighbours: for each query the rows that a float64 search of every row finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsys.distance import metrics
from mlsys.distance.arrays import becomes_numpy, name_of
from mlsys.distance.isolation import isolated
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric
from mlsys.distance.search import stored
from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer, check_squares
from mlsys.distance.search.blocks.settle import margin, propose, settle
from mlsys.distance.search.compiled import onepass
from mlsys.distance.search.inputs import (
    checked_queries,
    checked_rows,
    given_back,
    nothing_found,
    result_dtype,
)
from mlsys.distance.search.kernels.graphs import Replays
from mlsys.distance.search.kernels.launch import placed
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.screen import may_screen
from mlsys.distance.search.numbering import Numbers
from mlsys.distance.search.ranking import ranking
from mlsys.errors import UserError

QUERY_BLOCK = 256
FEW_ALLOWED = 0.25  # of the rows: so many are searched by themselves, which copies them
METHODS = ("auto", "kernels", "compiled", "blocks")


@isolated
def search(queries: Any, rows: Any, k: int, metric: str | Metric = "l2") -> tuple[Any, Any]:
    """The k nearest of `rows` (N, d) to each of `queries` (Q, d).

    Args:
        queries: what `distance` takes, finite: torch tensors, numpy arrays, lists and more of float16, bfloat16,
            float32, float64 or int8.
        rows: the same. Their dtypes may differ.
        k: from 1 to N.
        metric: one that states a form of search, by name or as an object: l2, sqeuclidean, l1, cosine (1 - cos), dot.

    Returns:
        Distances (Q, k) float32, where one side is float64 float64, and row numbers (Q, k) int64; tensors on the
        device of `queries`, for what is not a tensor arrays. Nearest first, for dot the largest inner product first,
        equal distances by the lower row number. Distances are recomputed from the rows in float64, without
        cancellation. The cosine distance to a zero vector is nan and comes last. The bits depend on no state of
        torch's and not on the number of threads, see `isolation`.

    Raises:
        UserError: for shapes, dtypes, k, or values that cannot be searched, and tensors that require grad (but in
            `torch.no_grad()`).
    """
    return Index(rows, metric).search(queries, k)


class Index:
    """Rows to be searched many times with one metric: keeps what must be known of them (one number a row).

    Args:
        rows: (N, d), see `search`; they stay where they are and are not copied, but for what `as_tensor` must copy and
            a view on a GPU that begins between multiples of 16 bytes. They must not change: what is kept of them would
            not hold, and neighbours be missed without a word. `add` and `remove` change what an index holds.
        metric: see `search`.
        method: kernels (Triton, on a GPU, not for int8 rows), compiled (one pass by Numba, on a CPU, not for float64
            rows), blocks (matrix products, anywhere) or auto: kernels on a GPU and compiled on a CPU where they can
            and there are rows enough.
        screen: int8: the kernels keep an int8 copy of the rows as well, N · d bytes, and score with it where that is
            faster: up to 128 neighbours of up to 32 queries, 256 in float32 rows. The answer is the same. Not for l1.

    Threads may search together, but not while rows are added or removed. After a fork the child must not search, see
    `distance`.
    """

    @isolated
    def __init__(
        self, rows: Any, metric: str | Metric = "l2", method: str = "auto", screen: str = "none"
    ) -> None:
        self.metric, self.ranking, self._asked, self.screen = metric, ranking(metric), method, screen
        self.doubtful = 0  # queries of the last search that the kernels' first choice could not vouch for
        self.rescanned = 0  # those of them for which every row was read again
        held = checked_rows(rows)
        self._hold(held, Numbers(len(held)))

    def _hold(self, rows: torch.Tensor, numbers: Numbers) -> None:
        """Take these rows for the index's, after reading them once."""
        self.method = _method(self._asked, rows)
        kernels = self.method == "kernels"
        screen = may_screen(self.screen, self.method, self.ranking.name, rows)
        rows = placed(rows) if kernels else rows
        scorer = scorer_of(rows, self.ranking.name)
        self._kernels = KernelSearch(rows, self.ranking.name, scorer, screen) if kernels else None
        self._replays = Replays(self._kernels) if self._kernels else None
        self._onepass = onepass.OnePass(scorer) if self.method == "compiled" else None
        self.rows, self.numbers, self._scorer = rows, numbers, scorer

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def screen_bytes(self) -> int:
        """Of device memory that the int8 copy takes; 0 where there is none."""
        screen = self._kernels.screen if self._kernels else None
        return screen.extra_bytes if screen else 0

    @isolated
    def add(self, rows: Any) -> Any:
        """Add rows (n, d) of the index's dtype; their numbers (n,) int64, which follow all that were ever given.

        Copies all rows, so add many at once. Raises UserError for rows that cannot be searched or do not fit.
        """
        new = checked_rows(rows)
        if new.shape[1] != self.rows.shape[1]:
            raise UserError(f"rows of dim {new.shape[1]} do not fit an index of dim {self.rows.shape[1]}")
        if new.dtype != self.rows.dtype:
            raise UserError(f"rows of {name_of(new.dtype)} do not fit an index of {name_of(self.rows.dtype)}")
        scorer_of(new, self.ranking.name)  # names the row that cannot be searched by its place among the new
        first = self.numbers.next
        self._hold(torch.cat([self.rows, new.to(self.rows.device)]), self.numbers.grown(len(new)))
        given = torch.arange(first, first + len(new), device=new.device)
        return given.numpy() if becomes_numpy(rows, new) else given

    @isolated
    def remove(self, numbers: Any) -> None:
        """Remove rows by their numbers (n,). The others keep theirs, and none is given again.

        Copies the rows that stay, so remove many at once. Raises UserError for a number that is not in the index, and
        where no row would stay.
        """
        stays = torch.ones(len(self.rows), dtype=torch.bool)
        stays[self.numbers.places(numbers)] = False
        places = stays.nonzero()[:, 0]
        if not len(places):
            raise UserError("an index keeps at least one row")
        if len(places) < len(self.rows):
            self._hold(self.rows[places.to(self.rows.device)], self.numbers.kept(places))

    def save(self, path: str | Path) -> None:
        """Write rows, numbers and the metric's name into a safetensors file. Raises UserError where it cannot be."""
        stored.write(Path(path), stored.Stored(self.rows, self.numbers, metrics.get(self.metric).name))

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        metric: str | Metric | None = None,
        method: str = "auto",
        screen: str = "none",
    ) -> Index:
        """The index that `save` wrote. On a CPU its rows stay in the file, memory-mapped, until any are added or
        removed; they are read once for their norms, and the file must not change. `StreamedIndex` takes the `rows` of
        an index as well.

        Args:
            path: of the file.
            device: where it is searched.
            metric: None: the one of the file, by its name; a metric object that is in no module is given here.
            method, screen: see `Index`.

        Raises:
            UserError: for what is no such file, and as `Index`.
        """
        found = stored.read(Path(path))
        index = cls(found.rows.to(device), found.metric if metric is None else metric, method, screen)
        index.numbers = found.numbers
        return index

    @isolated
    def search(self, queries: Any, k: int, allowed: Any = None) -> tuple[Any, Any]:
        """The k nearest rows of each of `queries` (Q, d): see `search`. Row numbers stay as `add` has given them.

        allowed: which rows may be found, for all queries a mask by row number (bool) or a list of numbers; for each
            query a mask (Q, numbers given so far) or a list of Q lists. A query with fewer such rows than k gets
            them, then the number -1 and the distance nan.
        """
        wanted = checked_queries(queries, self.rows.shape, k)
        if not len(wanted):
            return nothing_found(queries, wanted, self.rows, int(k))
        here = wanted.to(self.rows.device)
        if allowed is not None:
            distances, index = self._among(here, int(k), self.numbers.allowed(allowed, len(here)))
            return given_back(queries, wanted, distances, self.numbers.of(index))
        found = self._replays.nearest(here, int(k)) if self._replays else None
        if found is None:
            _, distances, index = self.nearest(here, int(k))
        else:
            distances, index, status, self.doubtful = (
                found.distances,
                found.rows,
                found.status,
                found.doubtful,
            )
            if doubt := self._in_doubt(status, here, int(k)):
                lines, _, distances[lines], index[lines] = doubt
        return given_back(queries, wanted, distances, self.numbers.of(index))

    @isolated
    def warm(self, queries: int | Iterable[int] = 1, k: int | Iterable[int] = 10) -> None:
        """Search once for each kind, so that no later search of that kind waits for a compiler.

        Compiled code stays on disk (Triton's and Numba's caches): a later process only loads it.

        Args:
            queries: how many are searched at once, in the rows' dtype (int8: float32); several: each of them.
            k: how many neighbours; several numbers: each of them.

        Raises:
            UserError: for what is no number of queries, and as `search`.
        """
        for count in [queries] if isinstance(queries, int) else queries:
            if count < 1:
                raise UserError(f"queries={count} must be at least 1")
            some = self.rows[:1].expand(count, -1)
            for neighbours in [k] if isinstance(k, int) else k:
                for _ in range(2):  # a shape is captured when it comes again
                    self.search(some, neighbours)

    def _among(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances and places (Q, k) among the rows that are allowed, (N,) or (Q, N) bool."""
        self.doubtful = self.rescanned = 0
        allowed = allowed.to(queries.device)
        few = allowed.nonzero()[:, 0] if allowed.dim() == 1 else None
        if few is not None and k <= len(few) <= FEW_ALLOWED * len(self.rows):
            part = Index(self.rows[few], self.metric, self._asked)
            _, distances, index = part.nearest(queries, k)
            return distances, few[index]
        keys, index = self._certain(queries, k, allowed.expand(len(queries), -1))
        absent = keys.isnan()
        distances = self._distances(keys, queries).masked_fill(absent, torch.nan)
        return distances, index.masked_fill(absent, -1)

    def keys(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, and rows, each (Q, k), of checked queries on the device."""
        found = self._replays.nearest(queries, k, with_keys=True) if self._replays else None
        if found is None or found.keys is None:
            keys, _, index = self.nearest(queries, k)
            return keys, index
        keys, index, self.doubtful = found.keys, found.rows, found.doubtful
        if doubt := self._in_doubt(found.status, queries, k):
            lines, keys[lines], _, index[lines] = doubt
        return keys, index

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, distances float32 and rows, each (Q, k), of checked queries on the device."""
        self.doubtful = self.rescanned = 0
        if self._kernels is None or not self._kernels.can(queries, k):
            keys, index = self._certain(queries, k)
            return keys, self._distances(keys, queries), index
        count = self._kernels.most_queries(len(queries), k)
        parts = [self._kernel_block(self._kernels, some, k) for some in _split(queries, count)]
        keys, distances, index, status = (_joined(list(each)) for each in zip(*parts, strict=True))
        if doubt := self._in_doubt(status.numpy(), queries, k):
            lines, keys[lines], distances[lines], index[lines] = doubt
        return keys, distances, index

    def _kernel_block(
        self, kernels: KernelSearch, queries: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys, distances, rows and status of one block, after a second choice for lines in doubt."""
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
        """Of the queries whose status is not 0, if any: which they are, and their keys, distances and rows."""
        self.rescanned = int(np.count_nonzero(status))
        if not self.rescanned:
            return None
        lines = torch.from_numpy(status.nonzero()[0]).to(queries.device)
        keys, index = self._certain(queries[lines], k)
        return lines, keys, self._distances(keys, queries), index

    def _distances(self, keys: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        return self.ranking.finish(keys).to(result_dtype(queries, self.rows))

    def _certain(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and places (Q, k); `allowed` (Q, N): which rows count, the keys of others are nan and come last."""
        masks = [None] * len(queries) if allowed is None else allowed.split(QUERY_BLOCK)
        parts = [
            self._certain_block(some, k, mask)
            for some, mask in zip(_split(queries, QUERY_BLOCK), masks, strict=False)
        ]
        return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])

    def _certain_block(
        self, queries: torch.Tensor, k: int, allowed: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(queries.dtype, self.rows.dtype)
        queries = queries.to(torch.promote_types(exact, torch.float32))
        lengths = self._scorer.lengths(queries)
        # a float64 query's length may overflow although its elements do not
        if not (bool(torch.isfinite(lengths).all()) or bool(torch.isfinite(queries).all())):
            raise UserError("queries hold nan or infinity")
        if self.ranking.squared:
            check_squares("queries", queries, lengths)
        queries = queries.to(self._scorer.precision(queries, lengths))
        m = margin(k, len(self.rows))
        found = self._onepass.propose(queries, m) if self._onepass and allowed is None else None
        if found is None:
            found = propose(self._scorer, queries, len(self.rows), m, allowed)
        return settle(self.ranking, self.rows, self._scorer, queries, lengths, found, k, allowed)


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


def scorer_of(rows: torch.Tensor, metric: str) -> ProductScorer | MaximumScorer:
    """What scores rows (N, d) for a form of search, after reading them once."""
    return MaximumScorer.of(rows) if metric == "l1" else ProductScorer.of(rows, metric)
