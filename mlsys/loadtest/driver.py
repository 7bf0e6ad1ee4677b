"""One load level: asks the arrivals when, the questions what, has the client send, and keeps every row."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mlsys.loadtest.arrivals import ArrivalProcess
from mlsys.loadtest.client_health import Watch
from mlsys.loadtest.phases import Phases
from mlsys.loadtest.questions import Question, Questions
from mlsys.loadtest.rows import ABANDONED, OK, Row
from mlsys.loadtest.sessions import following

PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
BATCH_MATES_S = 0.2


class Asks(Protocol):
    """What sends one question: `mlsys.loadtest.client.Client` over HTTP."""

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Send it, fill in the row, failures too. `clock` gives s since the level began."""

    async def get(self, path: str) -> Any:
        """The JSON of a GET, or None where the service has none."""


@dataclass
class LevelRun:
    """What one run of a level gave: its requests in the order of sending, and how the client was."""

    rows: list[Row]
    watch: Watch


class Driver:
    """Runs levels one after the other with the same client. `answered` is called after each request.

    `hang_up`: do not wait for cool-down requests, but close connections a moment after the last measured
    answer (a service that notices frees their places at once). `wall`: the time of day, in s.
    """

    def __init__(
        self,
        client: Asks,
        answered: Callable[[], None],
        hang_up: bool = False,
        watch: type[Watch] = Watch,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._answered, self._hang_up, self._watch = client, answered, hang_up, watch
        self._wall = wall

    async def run(
        self,
        process: ArrivalProcess,
        phases: Phases,
        questions: Questions,
        blank: Callable[[int], Row],
        think_time_s: float = 0.0,
        begin_s: float | None = None,
    ) -> LevelRun:
        """Send until the phases say that it is enough, and wait for every answer. `blank`: the row of a number.

        `begin_s`: when it begins, by the event loop's clock; None: at once.
        What arrives is a session: its later questions are due `think_time_s` after the answers before them.
        """
        level = _Running(self._client, self._answered, process, phases, questions, blank, think_time_s)
        level.started_at = self._wall()
        if begin_s is not None:
            await level.wait_for(begin_s)
        async with self._watch() as watch:
            await level.send_all(self._hang_up)
        return LevelRun(level.rows, watch)


class _Running:
    def __init__(
        self,
        client: Asks,
        answered: Callable[[], None],
        process: ArrivalProcess,
        phases: Phases,
        questions: Questions,
        blank: Callable[[int], Row],
        think_time_s: float,
    ) -> None:
        self.client, self.answered, self.process, self.phases = client, answered, process, phases
        self.questions, self.blank, self.think_time_s = questions, blank, think_time_s
        self.rows: list[Row] = []
        self.sessions = self.in_flight = 0
        self.hang_up = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.freed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.started, self.started_at = self.loop.time(), 0.0

    def clock(self) -> float:
        return self.loop.time() - self.started

    async def wait_for(self, begin_s: float) -> None:
        self.started_at += begin_s - self.started
        self.started = begin_s
        await asyncio.sleep(max(-self.clock(), 0.0))

    async def send_all(self, hang_up: bool) -> None:
        self.hang_up = hang_up and self.phases.keep_load
        async with asyncio.TaskGroup() as group:
            await self._send_due(group)
            if self.tasks:
                await asyncio.sleep(BATCH_MATES_S)
                for task in list(self.tasks):
                    task.cancel()

    async def _send_due(self, group: asyncio.TaskGroup) -> None:
        while True:
            due_s = self.process.due_s(self.clock(), self.in_flight)
            if due_s is None:
                self.freed.clear()
                await self.freed.wait()
                continue
            if due_s == math.inf or self.phases.next(due_s) is None:
                return
            question = self.questions[self.sessions]  # what takes time to be made is made before it is due
            await asyncio.sleep(max(due_s - self.clock(), 0.0))
            phase = self.phases.next(due_s)
            if phase is None:  # the last was a running session's
                return
            row = self._row(question, phase, due_s)
            if question.then:
                row.session, row.turn = self.sessions, 0
            self.sessions += 1
            self.in_flight += 1
            self.process.sent()
            task = group.create_task(self._session(row, question))
            if self.hang_up:
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def _row(self, question: Question, phase: str, due_s: float) -> Row:
        row = self.blank(len(self.rows))
        row.id, row.phase, row.started_at = len(self.rows), phase, self.started_at
        row.question, row.intended_s = question.id, due_s
        if row.max_tokens is None:
            row.max_tokens = question.max_tokens
        self.rows.append(row)
        self.phases.send(phase, due_s)
        return row

    async def _session(self, row: Row, question: Question) -> None:
        await self._send(row, question)
        while (next_question := following(question, row.text)) is not None:
            due_s = row.done_s + self.think_time_s
            await asyncio.sleep(max(due_s - self.clock(), 0.0))
            phase = self.phases.next(due_s)
            if phase is None:
                break
            before, question = row, next_question
            row = self._row(question, phase, due_s)
            row.session, row.turn, before.text = before.session, (before.turn or 0) + 1, None
            await self._send(row, question)
        self.in_flight -= 1
        self.freed.set()

    async def _send(self, row: Row, question: Question) -> None:
        row.sent_s = self.clock()
        if not self.process.open_loop:
            row.intended_s = row.sent_s
        try:
            await self.client.ask(row, question, self.clock)
        except asyncio.CancelledError:
            row.outcome, row.done_s = ABANDONED, self.clock()
            raise
        self.phases.done(row.phase)
        self.answered()
        if row.outcome != OK and not self.process.open_loop:
            await asyncio.sleep(min(row.retry_after_s or PAUSE_S, LONGEST_PAUSE_S))
