"""Programs stop when they are told to, whatever the shell that started them ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mlsys import interrupts
from mlsys.defaults import ROOT

IGNORING = ["sh", "-c", 'trap "" INT; exec "$0" "$@"']  # as `nohup … &` and many CI systems do
BLOCKING = [
    sys.executable, "-Ic",
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [2, 15]); os.execvp(sys.argv[1], sys.argv[1:])",
]  # fmt: skip
PROGRAM = """
import sys, time
from mlsys import interrupts
interrupts.{handler}
try:
    print("here", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


def run(started_by: list[str], handler: str, number: int) -> tuple[int, str]:
    process = subprocess.Popen(
        [*started_by, sys.executable, "-c", PROGRAM.format(handler=handler)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            process.send_signal(number)
            return process.wait(300), process.communicate()[1].strip()
        finally:
            process.kill()


@pytest.mark.parametrize("started_by", [[], IGNORING, BLOCKING], ids=["plain", "ignoring", "blocking"])
@pytest.mark.parametrize("number", interrupts.STOPS)
def test_a_stop_is_heard(started_by: list[str], number: int) -> None:
    assert run(started_by, "raise_interrupt()", number) == (1, "interrupted")


def test_before_anything_has_begun_a_stop_ends_it_without_a_word() -> None:
    assert run(IGNORING, "leave_at_once()", signal.SIGINT) == (interrupts.INTERRUPTED, "")
    assert run([], "leave_at_once(0)", signal.SIGTERM) == (0, "")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[..., None]]:
    taken: dict[int, Callable[..., None]] = {}
    monkeypatch.setattr(signal, "signal", taken.__setitem__)
    return taken


def test_while_ending_one_stop_may_come_twice_and_a_second_one_leaves(
    handlers: dict[int, Callable[..., None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, left = [100.0], list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "_exit", left.append)
    interrupts.leave_on_second()
    now[0] += interrupts.SAME_STOP_S / 2
    handlers[signal.SIGINT](signal.SIGINT, None)
    assert left == []
    now[0] += interrupts.SAME_STOP_S
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert left == [interrupts.INTERRUPTED]


def test_local_jobs_are_interrupted_and_then_killed(tmp_path: Path) -> None:
    """A job that ends when it is told to, and one that does not; nothing else is touched."""
    polite = (
        "import signal, time\nsignal.signal(2, signal.default_int_handler)\n"
        "try:\n    print(flush=True); time.sleep(60)\nexcept KeyboardInterrupt: open({!r}, 'w')"
    )
    deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    told = tmp_path / "told"
    started = [
        subprocess.Popen([sys.executable, "-Ic", code, name], stdout=subprocess.PIPE, start_new_session=True)
        for code, name in (
            (polite.format(str(told)), "submitit.core._submit"),
            (deaf, "submitit.core._submit"),
            (deaf, "somebody-else"),
        )
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        interrupts.end_local_jobs()
        assert [process.poll() is None for process in started] == [False, False, True]
        assert told.exists()
        assert psutil.Process(started[2].pid).is_running()
    finally:
        for process in started:
            process.kill()
            process.communicate()
