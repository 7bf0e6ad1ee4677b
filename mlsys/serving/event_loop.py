"""The event loop of a serving process, and how long its threads leave each other waiting."""

from __future__ import annotations

import asyncio

SWITCH_S = 0.0005  # how long an engine's thread waits for the interpreter while events are sent; Python's own is 5 ms


def new() -> asyncio.AbstractEventLoop:
    """uvloop's, where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
