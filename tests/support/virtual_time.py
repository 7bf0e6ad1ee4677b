"""The event loop of virtual time for coroutines, and a way to block it: the chain can be checked to the digit."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mlsys.virtual import loop as virtual

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` in virtual time, which begins at 0."""
    return virtual.run(lambda _: work)


def stall(seconds: float) -> None:
    """Let time pass while nothing else can run, as a blocked event loop does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, virtual.VirtualLoop)
    loop._now_s += seconds
