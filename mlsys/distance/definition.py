"""A metric's definition, one expression of x and y, carried out: independent of how the metric's own code computes.

`sum((x - y) ** 2)` is Python, NumPy and torch at once, given three words. What is inside a `sum` is a matter of single
elements, so the sums of a vector of any length are those of its stretches added up. What is outside takes finished
sums.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

WORDS = ("sum", "abs", "sqrt")


class Definition:
    """An expression, cut into its sums and the rest."""

    def __init__(self, expression: str) -> None:
        tree = ast.parse(expression, mode="eval")
        self._whole = _compiled(tree.body)
        self._inner: list[CodeType] = []
        self._outer = _compiled(_Cut(self._inner).visit(tree.body))

    @property
    def sums(self) -> int:
        """How many sums it has."""
        return len(self._inner)

    def add(self, x: Any, y: Any) -> list[Any]:
        """Each sum over a stretch of both vectors, in the vectors' precision."""
        words = {"abs": np.abs, "sqrt": np.sqrt, "x": x, "y": y}
        return [np.sum(eval(code, {}, words)) for code in self._inner]

    def lines(self, x: Any, y: Any, **words: Any) -> Any:
        """What the expression is for whole vectors, or for many at once where `words` says what a sum adds up."""
        return eval(self._whole, {}, {"x": x, "y": y, **words})

    def finish(self, sums: list[Any], **values: Any) -> Any:
        """What the expression is for finished sums; `values` are further names in it."""
        named = {f"sum_{i}": value for i, value in enumerate(sums)}
        return eval(self._outer, {}, {"abs": np.abs, "sqrt": np.sqrt, **named, **values})


@lru_cache
def define(expression: str) -> Definition:
    """The definition that `expression` states."""
    return Definition(expression)


def spelled(expression: str, library: str) -> str:
    """The expression as one writes it with a library: `np.sum(…)`, `torch.sum(…)`."""
    return re.sub(rf"\b({'|'.join(WORDS)})\(", rf"{library}.\1(", expression)


class _Cut(ast.NodeTransformer):
    """Takes the arguments of `sum` out and leaves names in their places."""

    def __init__(self, inner: list[CodeType]) -> None:
        self._inner = inner

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not (isinstance(node.func, ast.Name) and node.func.id == "sum"):
            self.generic_visit(node)
            return node
        self._inner.append(_compiled(node.args[0]))
        return ast.copy_location(ast.Name(f"sum_{len(self._inner) - 1}", ast.Load()), node)


def _compiled(body: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(body)), "<definition>", "eval")
