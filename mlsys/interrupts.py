"""What SIGINT and SIGTERM do, from a program's first line to its last.

Whoever starts a program in the background decides what it inherits: a shell's `… &`, nohup and many CI systems leave
SIGINT ignored or blocked, and Python then installs no handler for it. A program that measures for hours must stop all
the same, so every program of ours takes both signals itself. Hang-ups stay as they were inherited: nohup means them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

import psutil

STOPS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
SAME_STOP_S = 1.0  # a stop may come twice, from a terminal and from a parent
LOCAL_JOBS_S = 1.0
Handler = Callable[[int, FrameType | None], None]


def leave_at_once(status: int = INTERRUPTED) -> None:
    """For as long as nothing has begun, the imports for one: a stop ends the process without a word."""

    def leave(number: int, frame: FrameType | None) -> None:
        os._exit(status)

    take(leave)


def raise_interrupt() -> None:
    """A stop raises KeyboardInterrupt, SIGTERM as well."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    take(interrupt)


def leave_on_second() -> None:
    """While what has begun is brought to its end: a second stop ends the process at once."""
    first_at = time.monotonic()

    def leave(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - first_at > SAME_STOP_S:
            os._exit(INTERRUPTED)

    take(leave)


def take(handler: Handler) -> None:
    """Install `handler` for both signals, which are let through if they were blocked."""
    for number in STOPS:
        signal.signal(number, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def end_local_jobs() -> None:
    """Interrupt the jobs that hydra/launcher=submitit_local started: they lead sessions of their own and would go on.

    Each has a second to finish its record, then it is killed.
    """
    jobs = [child for child in psutil.Process().children(recursive=True) if "submitit" in _line(child)]
    for job in jobs:
        if "submitit.core._submit" in _line(job):
            _signal(job, signal.SIGINT)
    _, left = psutil.wait_procs(jobs, timeout=LOCAL_JOBS_S)
    for job in left:
        _signal(job, signal.SIGKILL)
    psutil.wait_procs(left, timeout=LOCAL_JOBS_S)


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""  # it has ended


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
