"""A store whose index takes and loses rows without being built anew: what is asked is checked here, once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag.retriever import Rows
from mlsys.rag.retriever.store import Store


class UpdatableStore(Store):
    """A subclass has `_add` and `_remove`, which are given what makes sense. What is kept on disk stays as it is."""

    _present: set[int] | None = None

    def add(self, rows: Rows, ids: Sequence[int], sources: Sequence[str] = ()) -> None:
        """Take rows (M, dim) float32 under the row numbers `ids`, with a source each.

        Raises UserError for a number that is there or comes twice, and for other shapes; then none is added.
        """
        keys, given = np.asarray(ids, np.int64), list(sources) or [""] * len(ids)
        if rows.shape != (len(keys), self.dim) or len(given) != len(keys):
            raise UserError(
                f"rows of the shape {rows.shape} with {len(keys)} ids and {len(given)} sources: "
                f"each id has a row of {self.dim} numbers and a source"
            )
        present, new = self._there(), set[int]()
        for key in keys.tolist():
            if key < 0:
                raise UserError(f"{key} is no passage's id")
            if key in present or key in new:
                raise UserError(f"passage {key} is there already")
            new.add(key)
        if self.filter:
            self.chosen = sorted({*self.chosen, *filter(self.filter.takes, given)})
        self._add(np.ascontiguousarray(rows, np.float32), keys, given)
        present.update(new)

    def remove(self, ids: Sequence[int]) -> None:
        """Forget rows. Raises UserError for one that is not there, and none is removed."""
        keys, present = np.unique(np.asarray(ids, np.int64)), self._there()
        for key in keys.tolist():
            if key not in present:
                raise UserError(f"passage {key} is not there")
        self._remove(keys)
        present.difference_update(keys.tolist())

    def own_copy(self, path: Path) -> Path:
        """A copy of a folder of the cache, to be changed; it goes with this store."""
        folder = Path(tempfile.mkdtemp(prefix=f"mlsys-{self.name}-"))
        finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(shutil.copytree(path, folder / "copy"))

    def _there(self) -> set[int]:
        if self._present is None:
            self._present = set(range(self.count))
        return self._present

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        raise NotImplementedError

    def _remove(self, ids: NDArray[np.int64]) -> None:
        raise NotImplementedError
