"""Progress for whatever takes over two seconds: a bar on a terminal, plain lines when piped. Goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

console = Console(stderr=True, highlight=False, soft_wrap=True)
PLAIN_INTERVAL_S = 5.0


class Step:
    """One running step; call `advance` as its units get done."""

    def __init__(self, text: str, total: float | None, bars: Progress | None) -> None:
        self.text, self.total, self._bars = text, total, bars
        self._done, self._shown_at = 0.0, time.monotonic()
        self._task = bars.add_task(text, total=total) if bars else None

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more units as done."""
        self._done += amount
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, amount)
        elif time.monotonic() - self._shown_at > PLAIN_INTERVAL_S:
            self._shown_at = time.monotonic()
            of = f"/{self.total:g}" if self.total else ""
            console.print(f"{self.text}: {self._done:g}{of}", markup=False)


@contextmanager
def step(text: str, total: float | None = None) -> Iterator[Step]:
    """Show `text` while the body runs, with a bar of `total` units where the number is known."""
    if console.quiet or not console.is_terminal:
        console.print(text, markup=False)
        yield Step(text, total, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield Step(text, total, bars)


@contextmanager
def silent() -> Iterator[None]:
    """Show nothing of the body: what it does is a part of a step that is shown."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def say(text: str) -> None:
    """One plain line on stderr."""
    console.print(text, markup=False)
