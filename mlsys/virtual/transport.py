"""A client without sockets: what `mlsys.loadtest.client` asks over HTTP it asks the service itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlsys.loadtest.answer import judge
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import TIMED_OUT, Row
from mlsys.serving.modes import Service
from mlsys.serving.request import Clock, Request, ServiceError, Wish


class InProcess:
    """Asks `service`; `clock` is the service's own. The answer is judged as one that came over HTTP."""

    def __init__(
        self, service: Service, clock: Clock, k: int, timeout_s: float, expected_tokens: int | None
    ) -> None:
        self._service, self._clock, self._k = service, clock, k
        self._timeout_s, self._expected_tokens = timeout_s, expected_tokens

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Ask the question, fill in the row, failures too. `clock` gives s since the level began."""
        request = Request(question.text, self._k, clock=self._clock, wish=Wish(max_tokens=row.max_tokens))
        content = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._service.answer(request)
            row.status, content, row.replica = answer.status, answer.content(), answer.replica
        except ServiceError as error:
            row.status, row.retry_after_s = error.status, error.retry_after_s
        except TimeoutError:
            row.done_s, row.outcome = clock(), TIMED_OUT
            row.error = f"no answer within {self._timeout_s:g} s"
            return
        row.first_byte_s = row.done_s = clock()
        judge(row, question, content, row.max_tokens or self._expected_tokens)
