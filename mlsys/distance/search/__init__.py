"""Exact nearest-neighbour search over rows: the k nearest of each query, certain to the index."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsys.distance.search.index import Index, search

__all__ = ["Index", "search"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.index"), name)
