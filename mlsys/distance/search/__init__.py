"""Exact nearest-neighbour search over rows: the k nearest of each query, certain to the index."""

from mlsys.distance.search.index import Index, search

__all__ = ["Index", "search"]
