"""An event loop whose time passes only when everybody sleeps: the chain can be checked to the digit."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits and nothing will ever happen"
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now_s


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` in virtual time, which begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def stall(seconds: float) -> None:
    """Let time pass while nothing else can run, as a blocked event loop does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)
    loop._virtual.now_s += seconds
