"""What a metric says: what one pair of elements contributes (its terms), and how the sums become the
distance.

A metric says it twice, once for Triton and once for NumPy, because the two have no common language; and, if it is to
run at the memory's speed on a CPU, a third time as a plain function of two numbers. Its `definition` is what all of
them must agree with. It knows nothing of blocks, devices and files; every reduction and every source works with every
metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mlsys.distance import folder
from mlsys.errors import UserError

PIECE, LOCKED = 256, 500  # see row_dots
MEANING = frozenset({"terms", "finish", "element", "definition", "rows", "distance"})

Array = npt.NDArray[Any]
Tensor = Any  # torch's; names of metrics cost no torch
Distances = Callable[[Tensor, Tensor, str], Tensor]


@dataclass(frozen=True)
class Metric(ABC):
    """A distance of two vectors: `sums` running sums over the elements and a finish in float64.

    `terms` is a `jit` function of two equal tiles, float32 or float64, that returns a tuple of `sums` float64
    tiles. `finish` is a `jit` function of three float64 scalars (those beyond `sums` are zero) that returns
    the distance. `element`, which a metric may leave out, is a static function of two float32 or two float64 numbers
    that returns a tuple of `sums` float64 numbers; Numba compiles it, see `mlsys.distance.numba_loop`.

    `definition` is the distance as one expression of the vectors x and y with the words sum, abs and sqrt; `scale`, of
    the same words and `value`, is what an error is measured against. A record's reference and the plain baselines come
    from them and from nothing else here, see `mlsys.distance.definition`.

    `slope` is a `jit` function of two equal tiles, the distances and the three sums of their rows, all float64; it
    returns what the distance changes by with each element of x and of y. `slope_of_sums` says whether it looks at
    the distance or the sums, `slope_of_value` whether of these at the distance alone. `gradient` says the same to
    torch. A metric that states neither has its definition's.

    `search` is the form in which rows are searched, see `mlsys.distance.search.ranking`; without one they are not. It
    holds for the class that states it: a subclass with terms or a definition of its own must state it again.
    `larger_is_nearer` tells a similarity from a distance.
    """

    name: str
    sums: ClassVar[int]
    terms: ClassVar[Any]
    finish: ClassVar[Any]
    element: ClassVar[Any] = None
    definition: ClassVar[str | None] = None
    scale: ClassVar[str] = "abs(value)"
    slope: ClassVar[Any] = None
    slope_of_sums: ClassVar[bool] = False
    slope_of_value: ClassVar[bool] = False
    search: ClassVar[str | None] = None
    larger_is_nearer: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "search" not in vars(cls) and not MEANING.isdisjoint(vars(cls)):
            cls.search = None
        if not MEANING.isdisjoint(vars(cls)):  # nothing of the base's that may no longer be true
            cls.slope = vars(cls).get("slope")
            for name in ("distances", "gradient"):
                if name not in vars(cls):
                    setattr(cls, name, getattr(Metric, name))

    @abstractmethod
    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Sum the terms of each row: x, y and scratch are (rows, width), out is (sums, rows) float64.

        x, y and scratch are float64; scratch may be overwritten.
        """

    @abstractmethod
    def distance(self, sums: Sequence[float]) -> float:
        """The distance for finished sums: what `finish` computes, on the host."""

    def distances(self, sums: Array) -> Array:
        """The distances (rows,) of many finished sums (sums, rows), float64; one by one by default."""
        return np.array([self.distance(each) for each in sums.T.tolist()], np.float64)

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """What each element of x and y (rows, n) does to the rows' distances, times weight (rows, 1).

        In torch, of operations that torch can differentiate again. `distances(x, y, name)` gives those of another
        metric, or of this one, (rows, 1). By the definition, where a metric does not know better; raises UserError for
        a metric that states none.
        """
        from mlsys.distance.derivative import by_definition

        return by_definition(self.stated(), weight, x, y)

    def stated(self) -> str:
        """The definition. Raises UserError for a metric that states none."""
        if self.definition is None:
            raise UserError(f"metric={self.name} states no definition, which a record's reference comes from")
        return self.definition

    def wide(self) -> Metric:
        """The metric for float64 vectors, whose squares may leave float64; most need nothing else."""
        return self


def names() -> list[str]:
    """All metrics there are, by the modules of this folder. Costs no torch."""
    return folder.names(__path__)


def searchable() -> list[str]:
    """Those of them that rows are searched by. Costs no torch."""
    return [name for name in names() if get(name).search is not None]


def get(metric: str | Metric) -> Metric:
    """The metric called `metric`, or the instance itself. Raises UserError for an unknown name."""
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise UserError(f"metric={metric!r} must be a name or a Metric")
    return _named(metric)


@lru_cache
def _named(name: str) -> Metric:
    found: Metric = folder.make("metric", __name__, __path__, name)
    return found


def for_dtype(metric: Metric, wide: bool) -> Metric:
    """`metric` as it is computed for float64 vectors (`wide`) or for narrower ones."""
    return metric.wide() if wide else metric


def row_dots(x: Array, y: Array, out: Array) -> None:
    """Inner products of the rows of x and y, (rows, width), into out (rows,) float64; one call, one thread.

    NumPy lets go of the interpreter's lock only in a call of over LOCKED inner products; in a call of fewer, longer
    ones a second thread would wait. So the rows of a whole block are cut into pieces, whose products are added up in
    float64.
    """
    count, width = x.shape
    if width % PIECE or count * width // PIECE <= LOCKED:
        out[:] = np.vecdot(x, y)  # `out=` of another dtype would convert x and y first
        return
    products = np.vecdot(x.reshape(-1, PIECE), y.reshape(-1, PIECE))
    np.sum(products.astype(np.float64).reshape(count, -1), axis=1, out=out)
