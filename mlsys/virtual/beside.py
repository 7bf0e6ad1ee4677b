"""Code that blocks, beside a virtual loop: it has a thread, and runs only while the loop stands still.

So what waits in real time (a fault that lasts for some seconds, whoever looks at a service again and again) is the same
code in virtual time, and happens at the same moment in every run.
"""

from __future__ import annotations

import threading
from asyncio import TimerHandle
from collections.abc import Callable

from mlsys.virtual.loop import VirtualLoop


class GivenUp(BaseException):
    """The loop goes on no more, and so does nobody who waits beside it."""


class Thread(threading.Thread):
    """As `threading.Thread`. `join` lets the loop's time pass and belongs to whoever runs the loop."""

    def __init__(self, beside: Beside, work: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._beside, self._work, self.turn, self.over = beside, work, threading.Semaphore(0), False

    def start(self) -> None:
        """As soon as the loop goes on."""
        super().start()
        self._beside.loop.call_soon(self._beside.let, self)

    def run(self) -> None:
        """Work, when it is its turn."""
        self.turn.acquire()
        try:
            if not self._beside.closed:
                self._work()
        except GivenUp:
            return
        finally:
            self.over = True
            self._beside.back.release()

    def join(self, timeout: float | None = None) -> None:
        """Let time pass until it has ended, or for `timeout` seconds."""
        loop = self._beside.loop
        until = float("inf") if timeout is None else loop.time() + timeout
        limit = None if timeout is None else loop.call_at(until, loop.stop)
        while not self.over and loop.time() < until:
            loop.run_forever()
        if limit is not None:
            limit.cancel()


class Event(threading.Event):
    """As `threading.Event`, for such threads."""

    def __init__(self, beside: Beside) -> None:
        super().__init__()
        self._beside = beside
        self._waiting = dict[Thread, TimerHandle | None]()

    def set(self) -> None:
        """Who waits goes on as soon as the loop does."""
        super().set()
        for thread, limit in self._waiting.items():
            if limit is not None:
                limit.cancel()
            self._beside.loop.call_soon(self._beside.let, thread)
        self._waiting.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Raises GivenUp where the loop is given up meanwhile."""
        thread = threading.current_thread()
        if self.is_set() or not isinstance(thread, Thread):
            return self.is_set()
        loop, let = self._beside.loop, self._beside.let
        self._waiting[thread] = None if timeout is None else loop.call_later(timeout, let, thread)
        self._beside.back.release()
        thread.turn.acquire()
        self._waiting.pop(thread, None)
        if self._beside.closed:
            raise GivenUp
        return self.is_set()


class Beside:
    """All threads beside one loop (`mlsys.faults.conductor.Beside`)."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop, self.clock = loop, loop.time
        self.back, self.closed = threading.Semaphore(0), False
        self._threads = list[Thread]()

    def event(self) -> Event:
        """A new one."""
        return Event(self)

    def thread(self, work: Callable[[], None], name: str) -> Thread:
        """A new one, not yet started."""
        self._threads.append(Thread(self, work, name))
        return self._threads[-1]

    def let(self, thread: Thread) -> None:
        """Stand still until the thread waits again, or has ended."""
        if not thread.over:
            thread.turn.release()
            self.back.acquire()
            self.loop.call_soon(self._stop_after, thread)

    def _stop_after(self, thread: Thread) -> None:
        if thread.over:  # whoever joins it looks
            self.loop.stop()

    def close(self) -> None:
        """Nobody goes on any more."""
        self.closed = True
        for thread in self._threads:
            if thread.is_alive():
                thread.turn.release()
