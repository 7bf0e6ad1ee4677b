"""Several client processes where one would be the limit: they are told when to begin and give their rows back.

Each runs `python -m mlsys.loadtest.client_process loadtest.json INDEX`. Tasks and the word that all are through are
files in the run's directory, as no pipe goes into a child; what it says is its output, as with every child. The clock
of all is the machine's monotonic one. Their rows are put together before anything is computed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mlsys.errors import ProcessEnded
from mlsys.files import replacing
from mlsys.loadtest import children, rows
from mlsys.loadtest.client_health import Several
from mlsys.loadtest.driver import LevelRun
from mlsys.serving.process import ChildProcess

FOLDER = "clients"
POLL_S = 0.02
LEAD_S = 0.2  # from the task's being told to the first request
READY_S = 120.0


@dataclass(frozen=True)
class Task:
    """One repeat of a level, for `of` processes; the others rest. `begin_s`: on the monotonic clock."""

    number: int
    of: int
    index: int
    level: float
    turn: int
    begin_s: float

    def write(self, folder: Path) -> None:
        """Tell it to all."""
        with replacing(folder / f"task-{self.number}.json") as path:
            path.write_text(json.dumps(vars(self)))

    @staticmethod
    def read(folder: Path, number: int) -> Task | None:
        """The task of this number, if it has been told."""
        path = folder / f"task-{number}.json"
        return Task(**json.loads(path.read_text())) if path.exists() else None


def released(folder: Path, number: int) -> Path:
    """The file that says: all measured requests of this task have been answered."""
    return folder / f"task-{number}.released"


class Clients:
    """As many processes as were ever asked for, as an async context manager; its end is theirs."""

    def __init__(self, spec: Path, env: dict[str, str] | None = None) -> None:
        self._spec, self._env = spec, env
        self._folder = spec.parent / FOLDER
        self._stack, self._running = ExitStack(), list[_Client]()
        self._tasks = 0

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    async def start(self, count: int) -> None:
        """Have at least so many, ready. Raises ProcessEnded, TimeoutError."""
        if not self._running:
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in self._folder.glob("task-*"):  # of a run that was begun before in this directory
                old.unlink()
        while len(self._running) < count:
            index = len(self._running)
            self._running.append(
                _Client(index, self._spec, self._folder, self._env, self._tasks, self._stack)
            )
        async with asyncio.timeout(READY_S):
            while not all(client.hear() and client.ready for client in self._running):
                await asyncio.sleep(POLL_S)

    async def run(
        self, of: int, index: int, level: float, turn: int, answered: Callable[[int], None]
    ) -> LevelRun:
        """One repeat by the first `of` processes; `answered` is told of answers, some at a time."""
        await self.start(of)
        task = Task(self._tasks, of, index, level, turn, time.monotonic() + LEAD_S)
        self._tasks += 1
        task.write(self._folder)
        working = self._running[:of]
        for client in working:
            client.begin()
        while not all(client.done for client in working):
            await asyncio.sleep(POLL_S)
            for client in working:
                client.hear()
                answered(client.take_answered())
            if all(client.measured for client in working):
                released(self._folder, task.number).touch()
        found = [row for client in working for row in rows.read(client.directory)]
        return LevelRun(
            sorted(found, key=lambda row: (row.sent_s, row.id)),
            Several([(client.lags_ms, client.cpu_share) for client in working]),
        )


class _Client:
    def __init__(
        self, index: int, spec: Path, folder: Path, env: dict[str, str] | None, first: int, stack: ExitStack
    ) -> None:
        self.directory = folder / str(index)
        self.directory.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "mlsys.loadtest.client_process", str(spec), str(index), str(first)]
        log = folder / f"{index}.log"
        self._process = stack.enter_context(ChildProcess(argv, children.environment(env), log))
        self._lines: Iterator[str] = children.lines(self._process)
        self.ready = False
        self.begin()

    def begin(self) -> None:
        """Forget the task before."""
        self.measured = self.done = False
        self._answered, self.lags_ms, self.cpu_share = 0, list[float](), 0.0

    def take_answered(self) -> int:
        """How many answers came since it was last asked."""
        count, self._answered = self._answered, 0
        return count

    def hear(self) -> bool:
        """Take in what it has said. Raises ProcessEnded where it has ended."""
        for line in self._lines:
            if line == "":
                return True
            if (event := children.parse(line)) is not None:
                self._take(event)
        raise ProcessEnded(f"a client process {self._process.ending()}")

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        self.ready |= kind == "ready"
        self.measured |= kind == "measured"
        if kind == "answered":
            self._answered += event["count"]
        elif kind == "done":
            self.done, self.lags_ms, self.cpu_share = True, event["lags_ms"], event["cpu_share"]
