"""How others compute the distances of pairs of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from mlsys.distance.baseline import Unavailable, as_numpy
from mlsys.distance.definition import define, spelled
from mlsys.distance.metrics import Metric
from mlsys.distance.rivals import Rival

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Problem:
    """Rows x (B, n) and y (B, n) or (1, n), of one dtype on one device."""

    x: torch.Tensor
    y: torch.Tensor
    metric: Metric


CALLS: dict[str, tuple[Function, str]] = {
    "l2": (lambda x, y: F.pairwise_distance(x, y), "F.pairwise_distance(x, y)"),
    "l1": (lambda x, y: F.pairwise_distance(x, y, p=1), "F.pairwise_distance(x, y, p=1)"),
    "cosine": (lambda x, y: 1 - F.cosine_similarity(x, y, dim=1), "1 - F.cosine_similarity(x, y, dim=1)"),
    "dot": (lambda x, y: torch.linalg.vecdot(x, y), "torch.linalg.vecdot(x, y)"),
}


def best_of_torch(metric: Metric) -> tuple[Function, str]:
    """torch's own call for the metric, else its definition in torch."""
    return CALLS.get(metric.name) or written(metric)


def written(metric: Metric) -> tuple[Function, str]:
    """The metric's definition as one writes it in torch for rows."""
    definition, text = define(metric.stated()), spelled(metric.stated(), "torch")

    def call(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        words = {"sum": lambda terms: terms.sum(-1), "abs": torch.abs, "sqrt": torch.sqrt}
        found: torch.Tensor = definition.lines(x, y, **words)
        return found

    return call, f"{text}, sums over dim=-1"


def of_torch(problem: Problem) -> Rival:
    """torch's own function."""
    function, expression = best_of_torch(problem.metric)
    return Rival(lambda: function(problem.x, problem.y), expression)


def of_torch_compile(problem: Problem) -> Rival:
    """The definition, compiled: one kernel that torch writes itself."""
    function, expression = written(problem.metric)
    compiled = torch.compile(function, dynamic=False)
    return Rival(lambda: compiled(problem.x, problem.y), f"torch.compile({expression})")


def of_numpy(problem: Problem) -> Rival:
    """The definition in NumPy."""
    if problem.x.is_cuda:
        raise Unavailable("numpy: it is measured on a CPU")
    x, y = np.asarray(as_numpy(problem.x, "numpy")), np.asarray(as_numpy(problem.y, "numpy"))
    definition, text = define(problem.metric.stated()), spelled(problem.metric.stated(), "np")

    def call() -> object:
        with np.errstate(all="ignore"):
            return definition.lines(x, y, sum=lambda terms: terms.sum(-1), abs=np.abs, sqrt=np.sqrt)

    return Rival(call, f"{text}, sums over axis=-1")


PEERS: dict[str, Callable[[Problem], Rival]] = {
    "torch": of_torch,
    "torch_compile": of_torch_compile,
    "numpy": of_numpy,
}
