"""The engine's process as its parent sees it: started, asked how it ended, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from mlsys.errors import ProcessEnded
from mlsys.serving.process import ChildProcess

ENDING_S = 5.0  # from the close of its socket to its end
STOPPING_S = 1.0


class EngineProcess:
    """`python -m mlsys.serving.engine CONFIG FD`; its output goes to `log`."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config, self._log = config, log
        self._process: ChildProcess | None = None

    async def start(self) -> socket.socket:
        """Start it; the socket on which it is asked."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            descriptor = theirs.fileno()
            argv = [sys.executable, "-m", "mlsys.serving.engine", str(self._config), str(descriptor)]
            self._process = ChildProcess(argv, None, self._log, [descriptor])
            self._process.start()
        return ours

    async def ending(self) -> Exception:
        """Why it ended, once its socket is closed: UserError where it refused the configuration."""
        if (process := self._process) is None:
            return ProcessEnded("the engine's process has not been started")
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(process.wait, ENDING_S)
        if process.alive:
            return ProcessEnded("the engine's process says nothing any more")
        return process.refusal() or ProcessEnded(f"the engine's process {process.ending()}")

    async def stop(self, drained: bool) -> None:
        """It was told to stop; where work was `drained`, it has a moment for it. Then it is killed."""
        if (process := self._process) is None:
            return
        if drained:
            with contextlib.suppress(TimeoutError):
                await asyncio.to_thread(process.wait, STOPPING_S)
        await asyncio.to_thread(process.kill)
