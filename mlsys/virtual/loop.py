"""An event loop whose time passes only when nothing is left to do: it jumps to the next timer.

A worker's function, which in real time runs in a thread, runs here at once and to its end, on a clock of its own
that begins at the loop's time and goes on when it sleeps. What it tells the loop meanwhile, and that it has ended,
reaches the loop at the time at which it did so. So it must not ask the loop for what happens while it works: a
request that is cancelled in the midst of a batch is answered all the same, and only nobody hears it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")
RESOLUTION_S = 1e-9


class NothingHappens(RuntimeError):
    """All wait for each other, and there is no timer: in real time this would be a hang."""


class _Selector(selectors.SelectSelector):
    """Never waits: what the loop would have waited is added to the time."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, without waiting for it."""
        if timeout is None:
            raise NothingHappens("everybody waits and nothing will ever happen")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. `time` is its clock, `sleep` what a worker's function sleeps with."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = RESOLUTION_S
        self._ahead_s: float | None = None  # of a worker's function, while it runs
        self._told: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        """Seconds since the beginning; within a worker's function, its own."""
        return self._virtual.now_s + (self._ahead_s or 0.0)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the worker's function that runs. Raises RuntimeError outside of one."""
        if self._ahead_s is None:
            raise RuntimeError("only a worker's function may sleep: the loop's own must await asyncio.sleep")
        self._ahead_s += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Run `func` at once; its result is there when its own time has passed."""
        future: asyncio.Future[Result] = self.create_future()
        self._ahead_s, self._told = 0.0, []
        try:
            end = partial(_give, future, func(*args))
        except Exception as error:
            end = partial(_fail, future, error)
        told, ended = self._told, self.time()
        self._ahead_s = None
        for at in dict.fromkeys([at for at, _ in told] + [ended]):
            calls = [call for when, call in told if when == at] + ([end] if at == ended else [])
            self.call_at(at, _in_order, calls)
        return future

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """From a worker's function: at its time and in its order. Else as soon as the loop can."""
        if self._ahead_s is None:
            return super().call_soon_threadsafe(callback, *args, context=context)
        self._told.append((self.time(), lambda: callback(*args)))
        return asyncio.Handle(callback, args, self, context)


def _give(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _in_order(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """`asyncio.run` of what `work` makes for a loop, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError(f"not in virtual time: {loop}")
        return runner.run(work(loop))
