"""A client keeps a row of each request: for Python's collector to look through a million of them takes seconds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

NEVER = 2**31 - 1


@contextmanager
def thresholds(young: int | None = None, old: int | None = None) -> Iterator[None]:
    """Other thresholds of the collector in the body, of its first and its last generation."""
    usual = gc.get_threshold()
    gc.set_threshold(young or usual[0], usual[1], old or usual[2])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def no_full_collections() -> AbstractContextManager[None]:
    """What has grown old is not looked through in the body; what is young is, as ever."""
    return thresholds(old=NEVER)
