"""One piece of code for everything that runs in its own process: started, watched, stopped, never left
behind.

A child is the leader of its own process group and gets SIGKILL from the kernel when the process that
started it dies (PR_SET_PDEATHSIG), even by kill -9. It can be stopped, whatever signals were ignored or blocked
where its parent was started. Both are set by a small wrapper which then becomes the command, not between fork and
exec, where Python code is not safe in a process with threads. Linux only: elsewhere the group is killed on a normal
end alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlsys.errors import MISUSE, ProcessEnded, UserError, last_words

READY = "serving on "
POLL_S = 0.02
WRAPPER = """import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, 9)
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
if os.getppid() != int(sys.argv[1]): os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ChildProcess:
    """One child process. Start it from a thread that lives as long as the child should: its end kills the
    child.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str] | None, log: Path, files: Sequence[int] = ()
    ) -> None:
        self.argv, self.env, self.log, self._files = list(argv), env, log, files
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `env` is added to this process's environment, both outputs go to the file `log`.

        It inherits the open files with the numbers `files`, and no others.
        """
        wrapper = (
            [sys.executable, "-I", "-S", "-c", WRAPPER, str(os.getpid())] if sys.platform == "linux" else []
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as file:
            self._child = subprocess.Popen(
                [*wrapper, *self.argv],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(self.env or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._files,
            )

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError before `start`."""
        if self._child is None:
            raise RuntimeError("the process has not been started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit status, minus the signal that ended it, or None while it runs."""
        return self._child.poll() if self._child else None

    def address(self) -> str | None:
        """What follows `serving on ` in its output, once that has been printed; None before.

        Raises UserError with the child's own line if it refused the configuration, ProcessEnded if it has
        ended.
        """
        alive = self.alive
        text = self._output()
        if not alive:
            raise self.refusal() or ProcessEnded(f"{self._name} {self.ending()}")
        for line in text.splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                return line.removeprefix(READY).strip()
        return None

    def refusal(self) -> UserError | None:
        """Its own line, where it has ended because it refused its configuration."""
        if self.returncode != MISUSE:
            return None
        text = self._output()
        return UserError(last_words(text)) if text.strip() else None

    def ending(self) -> str:
        """How it ended and, where it had the time to say so, why."""
        code, output = self.returncode or 0, f"(its output: {self.log})"
        if -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            return f"was ended by {signal.Signals(-code).name} {output}"
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        return f"ended {how}: {last_words(self._output())} {output}"

    def _output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_ready(self, timeout_s: float) -> str:
        """Wait until it prints `serving on ADDRESS`, return the address. Raises as `address`, or
        TimeoutError.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if (address := self.address()) is not None:
                return address
            time.sleep(POLL_S)
        raise TimeoutError(f"{self._name} was not ready after {timeout_s:g} s (its output: {self.log})")

    def wait(self, timeout_s: float) -> int:
        """Wait for its end, return the exit status. Raises TimeoutError."""
        if self._child is None:
            raise RuntimeError("the process has not been started")
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self._name} still runs after {timeout_s:g} s") from None

    def signal(self, number: int) -> None:
        """Send a signal to the process itself, if it still runs."""
        if self.alive:
            os.kill(self.pid, number)

    def terminate(self, timeout_s: float) -> int:
        """SIGTERM, wait, and kill the whole group whatever came of it. Returns the exit status."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            self.wait(timeout_s)
        return self.kill()

    def kill(self) -> int:
        """Kill its whole group and collect it. Returns the exit status."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait(10)

    @property
    def _name(self) -> str:
        return " ".join(self.argv[:4])

    def __enter__(self) -> ChildProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
