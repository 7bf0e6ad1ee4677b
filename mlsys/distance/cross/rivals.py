"""How others compute the distances of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F

from mlsys.distance.baseline import Unavailable, as_numpy
from mlsys.distance.metrics import get
from mlsys.distance.rivals import Rival
from mlsys.distance.rows.rivals import written

POWERS = {"l2": 2.0, "l1": 1.0}
SCIPYS = {"l2": "euclidean", "l1": "cityblock", "sqeuclidean": "sqeuclidean", "cosine": "cosine"}


@dataclass(frozen=True)
class Problem:
    """Rows x (Q, n) and y (N, n) of one dtype on one device, and the metric's name."""

    x: torch.Tensor
    y: torch.Tensor
    metric: str


def torch_cdist(problem: Problem) -> Rival:
    """torch's own, in the rows' dtype or float32; for the metrics that it lacks the usual product of matrices."""
    return _by_torch(problem, problem.x.float(), problem.y.float(), "")


def torch_float64(problem: Problem) -> Rival:
    """The same of rows that are float64 already: what full digits cost there."""
    return _by_torch(problem, problem.x.double(), problem.y.double(), ", x and y float64")


def _by_torch(problem: Problem, x: torch.Tensor, y: torch.Tensor, said: str) -> Rival:
    power = POWERS.get(problem.metric)
    if power is not None:
        return Rival(lambda: torch.cdist(x, y, p=power), f"torch.cdist(x, y, p={power:g}){said}")
    if problem.metric == "sqeuclidean":
        return Rival(lambda: torch.cdist(x, y).square(), f"torch.cdist(x, y).square(){said}")
    if problem.metric == "cosine":
        expression = f"1 - F.normalize(x) @ F.normalize(y).T{said}"
        return Rival(lambda: 1 - F.normalize(x, dim=1) @ F.normalize(y, dim=1).T, expression)
    if problem.metric == "dot":
        return Rival(lambda: x @ y.T, f"x @ y.T{said}")
    raise Unavailable(f"torch has no call for metric={problem.metric}")


def torch_compile(problem: Problem) -> Rival:
    """The definition of all pairs, which torch makes one kernel of: (Q, N, n) is never stored, as in KeOps."""
    function, expression = written(get(problem.metric))
    x, y = problem.x.float()[:, None], problem.y.float()[None]
    compiled = torch.compile(function, dynamic=False)
    return Rival(lambda: compiled(x, y), f"torch.compile({expression}), x[:, None] and y[None]")


def scipy(problem: Problem) -> Rival:
    """scipy's, in float64 on one core."""
    from scipy.spatial import distance

    if problem.x.is_cuda:
        raise Unavailable("scipy: it is measured on a CPU")
    name = SCIPYS.get(problem.metric)
    if name is None:
        raise Unavailable(f"scipy.spatial.distance.cdist has no {problem.metric}")
    x, y, function = (
        as_numpy(problem.x.float(), "scipy"),
        as_numpy(problem.y.float(), "scipy"),
        cast(Any, distance.cdist),
    )
    return Rival(lambda: function(x, y, name), f"scipy.spatial.distance.cdist(x, y, '{name}')")


PEERS: dict[str, Callable[[Problem], Rival]] = {
    "torch_cdist": torch_cdist,
    "torch_float64": torch_float64,
    "torch_compile": torch_compile,
    "scipy": scipy,
}
