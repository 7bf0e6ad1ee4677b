"""Exact nearest neighbours: for each query the rows that a float64 search of every row finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from mlsys.distance import metrics
from mlsys.distance.arrays import becomes_numpy, device_of, name_of
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.search import stored
from mlsys.distance.search.held import Held, scorer_of
from mlsys.distance.search.inputs import (
    checked_queries,
    checked_rows,
    each_whole,
    given_back,
    nothing_found,
)
from mlsys.distance.search.numbering import Numbers
from mlsys.distance.search.ranking import ranking
from mlsys.errors import UserError


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
        checked = checked_rows(rows)
        self._hold(checked, Numbers(len(checked)))

    def _hold(self, rows: torch.Tensor, numbers: Numbers) -> None:
        """Take these rows for the index's, after reading them once."""
        self._held, self.numbers = Held(rows, self.ranking, self._asked, self.screen), numbers

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> torch.Tensor:
        """The rows (N, d), in the order of their numbers."""
        return self._held.rows

    @property
    def method(self) -> str:
        """How they are searched: kernels, compiled or blocks."""
        return self._held.method

    @property
    def doubtful(self) -> int:
        """Queries of the last search that the kernels' first choice could not vouch for."""
        return self._held.doubtful

    @property
    def rescanned(self) -> int:
        """Those of them for which every row was read again."""
        return self._held.rescanned

    @property
    def screen_bytes(self) -> int:
        """Of device memory that the int8 copy takes; 0 where there is none."""
        return self._held.screen_bytes

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
        place, found = device_of(device), stored.read(Path(path))
        index = cls(found.rows.to(place), found.metric if metric is None else metric, method, screen)
        index.numbers = found.numbers
        return index

    @isolated
    def search(self, queries: Any, k: int, allowed: Any = None) -> tuple[Any, Any]:
        """The k nearest rows of each of `queries` (Q, d): see `search`. Row numbers stay as `add` has given them.

        allowed: which rows may be found, for all queries a mask by row number (bool) or a list of numbers; for each
            query a mask (Q, numbers given so far) or a list of Q masks or lists. A query with fewer such rows than k
            gets them, then the number -1 and the distance nan.
        """
        wanted = checked_queries(queries, self.rows.shape, k)
        if not len(wanted):
            return nothing_found(queries, wanted, self.rows, int(k))
        here = wanted.to(self.rows.device)
        if allowed is None:
            distances, places = self._held.distances(here, int(k))
        else:
            distances, places = self._held.among(here, int(k), self.numbers.allowed(allowed, len(here)))
        return given_back(queries, wanted, distances, self.numbers.of(places))

    @isolated
    def warm(self, queries: int | Iterable[int] = 1, k: int | Iterable[int] = 10) -> None:
        """Compile what searches of these kinds take, also where lines are in doubt, so that none waits for a compiler.

        Compiled code stays on disk (Triton's and Numba's caches): a later process only loads it. Kernels are compiled
        for classes of k and of the rows' dim, so that other searches find theirs as well.

        Args:
            queries: how many are searched at once, in the rows' dtype (int8: float32); several: each of them.
            k: how many neighbours; several numbers: each of them.

        Raises:
            UserError: for what is no number of queries, and as `search`.
        """
        for count in each_whole("queries", queries):
            if count < 1:
                raise UserError(f"queries={count} must be at least 1")
            some = self.rows[:1].expand(count, -1)
            for neighbours in each_whole("k", k):
                self._held.warm(checked_queries(some, self.rows.shape, neighbours), int(neighbours))

    def keys(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, and places, each (Q, k), of checked queries on the device."""
        return self._held.keys(queries, k)

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, distances and places, each (Q, k), of checked queries on the device."""
        return self._held.nearest(queries, k)
