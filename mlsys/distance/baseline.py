"""What a baseline is: one module in `mlsys/distance/baselines/`, named as `baselines=[…]` names it.

The module says `WHERE` it computes (`cpu`, or `device`: where the vectors lie) and offers
`prepare(x, y, metric) -> Prepared` for two 1-D tensors of one dtype there; `Unavailable` where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch

from mlsys.distance import baselines
from mlsys.distance.definition import spelled
from mlsys.distance.metrics import Metric
from mlsys.errors import UserError

WRONG = 0.01  # a relative error above it is no rounding


class Unavailable(RuntimeError):
    """This baseline cannot compute what was asked; the text says why and goes into the record."""


@dataclass(frozen=True)
class Prepared:
    """A call ready to be timed and the expression that it carries out; `exact`: whether that is the metric's own."""

    call: Callable[[], object]
    expression: str
    exact: bool = True


class Baseline(Protocol):
    """What a baseline's module offers."""

    WHERE: str

    def prepare(self, x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
        """Make `metric` of `x` and `y`, 1-D tensors of one dtype, ready to be timed."""
        ...


def get(name: str) -> Baseline:
    """The baseline called `name`. Raises UserError with the names there are."""
    if name not in baselines.names():
        raise UserError(f"baselines=[{name}] is not a baseline; there are: {', '.join(baselines.names())}")
    return cast(Baseline, import_module(f"mlsys.distance.baselines.{name}"))


def as_numpy(tensor: torch.Tensor, library: str) -> object:
    """The tensor's memory as a numpy array. Raises Unavailable for dtypes that numpy lacks."""
    if tensor.dtype == torch.bfloat16:
        raise Unavailable(f"{library} has no bfloat16")
    return tensor.numpy()


def plain(metric: Metric, library: str) -> str:
    """The metric's definition as one writes it with `library`, such as "np". Raises Unavailable if there is none."""
    if metric.definition is None:
        raise Unavailable(f"metric={metric.name} states no definition")
    return spelled(metric.definition, library)


def best(expressions: Mapping[str, str], metric: Metric, library: str) -> str:
    """The metric's expression among those a baseline has. Raises Unavailable if there is none."""
    if metric.name not in expressions:
        raise Unavailable(f"{library}: no expression is written for metric={metric.name}")
    return expressions[metric.name]


def evaluate(expression: str, space: Mapping[str, Any]) -> Prepared:
    """The expression, compiled once, over the names in `space`."""
    code = compile(expression, "<baseline>", "eval")
    names = dict(space)
    return Prepared(lambda: eval(code, names), expression)
