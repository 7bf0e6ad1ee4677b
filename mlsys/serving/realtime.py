"""What a mode has of time and threads, in one object, so that other time can be put in its place (`mlsys.virtual`)."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from mlsys.serving.request import Clock

if TYPE_CHECKING:
    from mlsys.serving.continuous.loop import Loop


class Changed(Protocol):
    """A flag that somebody waits for."""

    def set(self) -> None: ...  # noqa: D102
    def clear(self) -> None: ...  # noqa: D102
    def wait(self) -> Any: ...  # noqa: D102


class Time(Protocol):
    """`clock` gives seconds. Whoever works in threads asks the rest."""

    clock: Clock

    def lock(self) -> AbstractContextManager[Any]:
        """For threads: one at a time."""

    def changed(self) -> Changed:
        """The flag that a loop of steps waits for while it has nothing to do."""

    def drive(self, steps: Loop, pool: Executor) -> asyncio.Future[Any]:
        """Run the loop of steps until it is stopped."""


class RealTime:
    """The machine's clock and its threads."""

    clock: Clock = staticmethod(time.perf_counter)

    def lock(self) -> AbstractContextManager[Any]:
        """A thread's lock."""
        return threading.Lock()

    def changed(self) -> Changed:
        """A thread's event."""
        return threading.Event()

    def drive(self, steps: Loop, pool: Executor) -> asyncio.Future[Any]:
        """In a thread of its own."""
        return asyncio.get_running_loop().run_in_executor(pool, steps.run)


REAL = RealTime()
