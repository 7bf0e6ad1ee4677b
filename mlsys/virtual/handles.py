"""What waits for its turn in a virtual loop: as in every loop, without what is for debugging alone.

There are a dozen of them for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


def nothing() -> None:
    """What was cancelled does, and keeps."""


class Handle(asyncio.Handle):
    """As every loop's."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None


class Timer(asyncio.TimerHandle):
    """The same of one that waits, mostly to be cancelled: `slot` has it by its number until that time is near."""

    __slots__ = ("number", "slot")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr, self._source_traceback = False, None, None
        self._when, self._scheduled = when, True
        self.number: int = 0
        self.slot: dict[int, Timer] | None = None

    def cancel(self) -> None:
        """As every loop's."""
        if not self._cancelled:
            self._cancelled, self._callback, self._args = True, nothing, ()
            if self.slot is not None:
                del self.slot[self.number]
