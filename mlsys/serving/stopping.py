"""Texts that end an answer, where it is cut once it is whole."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.rag.item import Item


def cut(item: Item, stops: Sequence[str]) -> None:
    """`result` ends before the first of `stops` that is in it. `tokens` stays the number that was generated."""
    places = [place for stop in stops if (place := item.result.find(stop)) >= 0]
    if places:
        item.result, item.finish = item.result[: min(places)].rstrip(), "stop"
