"""A server that we start for ourselves: on this machine, at a port of its own, watched, and gone when we are."""

from __future__ import annotations

import os
import socket
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from mlsys.rag.upstream.connection import Connection
from mlsys.rag.upstream.health import Trouble
from mlsys.rag.upstream.upstream import Knobs, Upstream
from mlsys.serving.process import ChildProcess

HOST = "127.0.0.1"
STOP_S = 3.0


class LocalServer(Upstream):
    """`title`: what errors call it; `command`: its command line for a port. `knobs` name no address.

    The process belongs to the thread that talks to it, and ends with that at the latest.
    """

    def __init__(
        self,
        group: str,
        check_path: str,
        title: str,
        command: Callable[[int], list[str]],
        **knobs: Unpack[Knobs],
    ) -> None:
        super().__init__(group, check_path, **knobs)
        self._title, self._command = title, command
        self.name = title
        self.process: ChildProcess | None = None

    async def _connect(self) -> Connection:
        port = _free_port()
        self.base, self.name = f"http://{HOST}:{port}", f"{self._title} at {HOST}:{port}"
        handle, path = tempfile.mkstemp(prefix=f"{self._title}-", suffix=".log")
        os.close(handle)
        self.process = ChildProcess(self._command(port), None, Path(path))
        self.process.start()
        return await super()._connect()

    async def _trouble(self) -> Trouble | None:
        if self.process is not None and not self.process.alive:
            return Trouble(self.process.ending(), is_certain=True, is_final=True)
        return await super()._trouble()

    async def _appears(self) -> str | None:
        if self.process is not None:
            self._ender = weakref.finalize(
                self, _end, self.process
            )  # before the thread that it belongs to ends
        return await super()._appears()

    def close(self) -> None:
        """Give everything up and end it. What it wrote is kept where it had ended by itself."""
        if self.process is not None:
            self._ender()
        self.process = None
        super().close()


def _end(process: ChildProcess) -> None:
    by_itself = not process.alive
    process.terminate(STOP_S)
    if not by_itself:
        process.log.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
    return port
