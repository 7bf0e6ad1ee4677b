"""One client process's share of a load: of N processes the w-th sends every N-th request, so that all together send
just what one would. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mlsys.loadtest.arrivals import ArrivalProcess
from mlsys.loadtest.questions import Question, Questions
from mlsys.loadtest.rows import Row


@dataclass(frozen=True)
class Share:
    """The `index`-th of `of`: it has the numbers index, index + of, index + 2·of, …"""

    index: int = 0
    of: int = 1

    def number(self, own: int) -> int:
        """The load's number of this share's request with the number `own`."""
        return own * self.of + self.index

    def count(self, total: int) -> int:
        """How many of the load's first `total` requests are in this share."""
        return max(0, -(-(total - self.index) // self.of))

    def arrivals(self, process: ArrivalProcess) -> ArrivalProcess:
        """This share's requests of an open loop, this share's clients of a closed one."""
        return process if self.of == 1 else _Every(process, self)

    def questions(self, questions: Questions) -> Questions:
        """What this share's requests ask."""
        return questions if self.of == 1 else _Shared(questions, self)

    def numbered(self, rows: list[Row]) -> list[Row]:
        """The rows with the load's numbers instead of this share's."""
        for row in rows:
            row.id = self.number(row.id)
            row.session = None if row.session is None else self.number(row.session)
        return rows


WHOLE = Share()


class _Every:
    def __init__(self, process: ArrivalProcess, share: Share) -> None:
        self._process, self._share, self.open_loop = process, share, process.open_loop
        self._skip(share.index)

    def due_s(self, now_s: float, in_flight: int) -> float | None:
        """As if each other share had as many in flight."""
        return self._process.due_s(now_s, self._share.number(in_flight))

    def sent(self) -> None:
        """Go on to this share's next."""
        self._skip(self._share.of)

    def _skip(self, count: int) -> None:
        for _ in range(count):
            self._process.sent()


class _Shared:
    def __init__(self, questions: Questions, share: Share) -> None:
        self._questions, self._share = questions, share

    def __getitem__(self, number: int) -> Question:
        """That of this share's request with the number."""
        return self._questions[self._share.number(number)]
