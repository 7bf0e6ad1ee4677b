"""Processes start, announce themselves, and never outlive who started them."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlsys.errors import ProcessEnded, UserError
from mlsys.serving.process import ChildProcess

READY = "print('warming up'); print('serving on http://127.0.0.1:1', flush=True); import time; time.sleep(60)"


def child(tmp_path: Path, code: str, env: dict[str, str] | None = None) -> ChildProcess:
    return ChildProcess([sys.executable, "-c", code], env, tmp_path / "child.log")


def gone(pid: int, timeout_s: float = 300) -> bool:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_waits_for_the_address(tmp_path: Path) -> None:
    with child(tmp_path, READY) as process:
        assert process.wait_ready(300) == "http://127.0.0.1:1"
        while_running = process.alive
        assert while_running
        assert process.log.read_text().startswith("warming up\n")
    assert not process.alive
    assert process.returncode == -signal.SIGKILL


def test_the_childs_own_line_is_raised(tmp_path: Path) -> None:
    code = (
        "import sys; print('loading'); print('error: server.port=9 is taken', file=sys.stderr); sys.exit(2)"
    )
    with child(tmp_path, code) as process, pytest.raises(UserError) as caught:
        process.wait_ready(300)
    assert str(caught.value) == "server.port=9 is taken"


def test_an_early_end_shows_its_last_words(tmp_path: Path) -> None:
    expected = r"ended with 1: bad luck \(its output: .*child\.log\)"
    with (
        child(tmp_path, "print('one', flush=True); raise SystemExit('bad luck')") as process,
        pytest.raises(ProcessEnded, match=expected),
    ):
        process.wait_ready(300)


def test_who_announced_itself_and_ended_is_not_ready(tmp_path: Path) -> None:
    code = "print('serving on x'); open('/nowhere/at/all')"
    with child(tmp_path, code) as process:
        process.wait(300)
        with pytest.raises(ProcessEnded, match=r"ended with 1: FileNotFoundError: .*'/nowhere/at/all'"):
            process.address()


def test_who_was_killed_had_no_time_for_words(tmp_path: Path) -> None:
    with child(tmp_path, READY) as process:
        process.wait_ready(300)
        process.kill()
        with pytest.raises(ProcessEnded, match=r"was ended by SIGKILL \(its output: .*child\.log\)$"):
            process.address()


def test_never_ready(tmp_path: Path) -> None:
    with child(tmp_path, "import time; time.sleep(60)") as process:
        with pytest.raises(TimeoutError, match=r"was not ready after 0\.1 s"):
            process.wait_ready(0.1)
        with pytest.raises(TimeoutError, match=r"still runs after 0\.1 s"):
            process.wait(0.1)


def test_environment_is_added(tmp_path: Path) -> None:
    code = (
        "import os, time; print('serving on', os.environ['MLSYS_TEST'], 'PATH' in os.environ); time.sleep(60)"
    )
    with child(tmp_path, code, {"MLSYS_TEST": "here"}) as process:
        assert process.wait_ready(300) == "here True"


def test_terminate_lets_it_end_then_kills(tmp_path: Path) -> None:
    polite = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));" + READY
    with child(tmp_path, polite) as process:
        process.wait_ready(300)
        assert process.terminate(300) == 7
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY
    with child(tmp_path, stubborn) as process:
        process.wait_ready(300)
        assert process.terminate(0.1) == -signal.SIGKILL


def test_kill_takes_the_whole_group(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('serving on', p.pid, flush=True); p.wait()"
    )
    with child(tmp_path, code) as process:
        grandchild = int(process.wait_ready(300))
        process.kill()
        assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_die_with_a_killed_parent_to_the_last_generation(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A process that starts a ChildProcess that starts a ChildProcess; the first is killed."""
    folder = f"Path({str(tmp_path)!r})"
    inner = f"ChildProcess([sys.executable, '-c', 'import time; time.sleep(60)'], None, {folder} / 'c.log')"
    start = "import sys, time; from pathlib import Path; from mlsys.serving.process import ChildProcess;"
    middle = f"{start} p = {inner}; p.start(); print('serving on', p.pid, flush=True); time.sleep(60)"
    outer = (
        f"{start} p = ChildProcess([sys.executable, '-c', {middle!r}], None, {folder} / 'b.log');"
        "p.start(); print('serving on', p.pid, p.wait_ready(300), flush=True); time.sleep(60)"
    )
    with child(tmp_path, outer, {"PYTHONPATH": os.pathsep.join(sys.path)}) as process:
        pids = [int(pid) for pid in process.wait_ready(300).split()]
        assert len(pids) == 2
        os.kill(process.pid, number)
        assert all(gone(pid) for pid in pids)


def test_a_child_can_be_stopped_where_its_parent_ignores_signals(tmp_path: Path) -> None:
    code = (
        "import signal, time; found = *map(signal.getsignal, (2, 15)), signal.pthread_sigmask(1, [])\n"
        "print('serving on', *found, flush=True); time.sleep(60)"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with child(tmp_path, code) as process:
            found = process.wait_ready(300)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert found == f"{signal.default_int_handler} {signal.SIG_DFL} set()".replace("Handlers.", "")


def test_asking_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = ChildProcess(["x"], None, tmp_path / "log").pid
