"""An event loop whose time passes only when nothing is left to do: it jumps to the next timer.

A worker's function, which in real time runs in a thread, runs here at once and to its end, on a clock of its own
that begins at the loop's time and goes on when it sleeps. What it tells the loop meanwhile, and that it has ended,
reaches the loop at the time at which it did so. So it must not ask the loop for what happens while it works: a
request that is cancelled in the midst of a batch is answered all the same, and only nobody hears it.

Nothing waits for sockets, so none is looked at, and timers of one time come in the order in which they were set.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from mlsys.virtual.handles import Handle, Timer, nothing

Result = TypeVar("Result")
Call = tuple[Callable[..., object], tuple[Any, ...]]
SLOTS_PER_S = 64  # of timers to come
LATEST_S = 1e12


class NothingHappens(RuntimeError):
    """All wait for each other, and there is no timer: in real time this would be a hang."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. `time` is its clock, `sleep` what a worker's function sleeps with."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, Timer]] = []  # those of slots that have been opened
        self._slots: dict[int, dict[int, Timer]] = {}
        self._order, self._opened = list[int](), 0
        self._numbers = count()
        self._told: list[tuple[float, list[Call]]] | None = None  # by a worker's function, while it runs
        self._told_handle = Handle(nothing, (), self, None)  # what is told cannot be taken back

    def time(self) -> float:
        """Seconds since the beginning; within a worker's function, its own."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass for the worker's function that runs. Raises RuntimeError outside of one."""
        if self._told is None:
            raise RuntimeError("only a worker's function may sleep: the loop's own must await asyncio.sleep")
        self._now_s += seconds

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop's."""
        timer = Timer(when, callback, args, self, context)
        number, slot = next(self._numbers), _slot(when)
        if slot <= self._opened:
            heappush(self._timers, (when, number, timer))
            return timer
        if (timers := self._slots.get(slot)) is None:
            timers = self._slots[slot] = {}
            heappush(self._order, slot)
        timers[number], timer.number, timer.slot = timer, number, timers
        return timer

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop's."""
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """As every loop's."""
        return asyncio.Future(loop=self)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop's."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Turn by turn until somebody stops the loop: call what is ready, or else let time pass until something is."""
        timers, ready = self._timers, self._ready
        take = ready.popleft
        while True:
            if not ready and not self._stopping:
                self._pass()
            while timers and timers[0][0] <= self._now_s:
                ready.append(heappop(timers)[2])
            for _ in range(len(ready)):
                handle = take()
                if not handle._cancelled:
                    handle._run()
            if self._stopping:
                return

    def _pass(self) -> None:
        """Let time pass until the next timer."""
        timers, order = self._timers, self._order
        while True:
            while timers and timers[0][2]._cancelled:
                heappop(timers)
            if not order or (timers and _slot(timers[0][0]) < order[0]):
                break
            self._open(heappop(order))
        if not timers:
            raise NothingHappens("everybody waits and nothing will ever happen")
        self._now_s = max(self._now_s, timers[0][0])

    def _open(self, slot: int) -> None:
        """From now on its timers are among those that come next."""
        self._opened = slot
        for number, timer in self._slots.pop(slot).items():
            timer.slot = None
            heappush(self._timers, (timer._when, number, timer))

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Run `func` at once; its result is there when its own time has passed."""
        future: asyncio.Future[Result] = self.create_future()
        began_s, told = self._now_s, list[tuple[float, list[Call]]]()
        self._told = told
        try:
            self._tell(_give, (future, func(*args)))
        except Exception as error:
            self._tell(_fail, (future, error))
        self._now_s, self._told = began_s, None
        for at, calls in told:
            self.call_at(at, _in_order, calls)
        return future

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """From a worker's function: at its time and in its order. Else as soon as the loop can."""
        if self._told is None:
            return self.call_soon(callback, *args, context=context)
        self._tell(callback, args)
        return self._told_handle

    def _tell(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        told = self._told
        if told is None:
            raise RuntimeError("no worker's function runs")
        if not told or told[-1][0] != self._now_s:
            told.append((self._now_s, []))
        told[-1][1].append((callback, args))


def _slot(when: float) -> int:
    return int(min(when, LATEST_S) * SLOTS_PER_S)


def _give(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _in_order(calls: list[Call]) -> None:
    for callback, args in calls:
        callback(*args)


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """`asyncio.run` of what `work` makes for a loop, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work(_of(runner)))


def step_by_step(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """As `run`; after each `loop.stop()` the caller has its turn, and time stands still."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = _of(runner)
        task = loop.create_task(work(loop))
        over = False
        task.add_done_callback(lambda _: None if over else loop.stop())
        try:
            while not task.done():
                loop.run_forever()
                yield
            over = True
            task.result()
        finally:
            if task.done() and not task.cancelled():
                task.exception()  # what stops the whole program is told once


def _of(runner: asyncio.Runner) -> VirtualLoop:
    loop = runner.get_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"not in virtual time: {loop}")
    return loop
