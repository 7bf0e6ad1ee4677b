"""Texts that end an answer: where it is cut, token by token or once it is whole."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.rag.item import Item


def place(text: str, stops: Sequence[str]) -> int | None:
    """Where `text` ends: where that of `stops` begins which is whole first, the longest of several. None: no stop.

    "Whole first" and not "begins first": so the answer does not depend on how its text is cut into tokens.
    """
    found = [(at + len(stop), at) for stop in stops if stop and (at := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def cut(item: Item, stops: Sequence[str]) -> None:
    """`result` ends before a stop. `tokens` stays the number that was generated."""
    if (at := place(item.result, stops)) is not None:
        item.result, item.finish = item.result[:at].rstrip(), "stop"
