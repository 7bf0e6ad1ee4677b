"""Clients that share a service: whose turn it is in line, and who gives a place up when all are taken.

A line by arrival belongs to whoever asks most: a client with ten times the requests of another has ten of eleven
places, and the other waits as long as they do. So clients are served in turn, one request each (fair queueing by
requests: Nagle, RFC 970, 1985). Where all places are taken, a client takes over the newest of the one that has most,
unless it would have as many then (longest queue drop: Suter, Lakshman, Stiliadis and Choudhury, 1998). For a client
alone both are first come, first served.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from mlsys.serving.request import Refused, Request

BETWEEN = "/"  # a client's name is its key's, and behind this the one that `user` gives


def owner(client: str) -> str:
    """Whose places those of `client` are: its key's. Users of one key share them, however many names it gives."""
    return client.partition(BETWEEN)[0]


class Line:
    """Those who wait. `fair` False: in the order in which they came."""

    def __init__(self, fair: bool) -> None:
        self._fair, self._count = fair, 0
        self._first: deque[Request] = deque()
        self._lines: OrderedDict[str, deque[Request]] = (
            OrderedDict()
        )  # never empty ones; the first has its turn

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Request]:
        return chain(self._first, *self._lines.values())

    def append(self, request: Request) -> None:
        """It is its client's last; a client that did not wait comes after those that do."""
        whose = owner(request.wish.client) if self._fair else ""
        if (line := self._lines.get(whose)) is None:
            line = self._lines[whose] = deque()
        line.append(request)
        self._count += 1

    def put_back(self, requests: Iterable[Request]) -> None:
        """They had their turn, and go before everybody else, in their order."""
        back = list(requests)
        self._first.extendleft(reversed(back))
        self._count += len(back)

    def take(self, count: int) -> list[Request]:
        """The next `count`; fewer where fewer wait."""
        return list(islice(iter(self._next, None), count))

    def _next(self) -> Request | None:
        if not self._count:
            return None
        self._count -= 1
        if self._first:
            return self._first.popleft()
        whose, line = next(iter(self._lines.items()))
        request = line.popleft()
        if line:
            self._lines.move_to_end(whose)
        else:
            del self._lines[whose]
        return request

    def remove(self, request: Request) -> None:
        """Raises ValueError where it does not wait."""
        whose = owner(request.wish.client) if self._fair else ""
        line = self._lines.get(whose)
        if line is not None and request in line:
            line.remove(request)
            if not line:
                del self._lines[whose]
        else:
            self._first.remove(request)
        self._count -= 1

    @property
    def oldest_at(self) -> float:
        """When the one came that has waited longest. Raises ValueError where nobody waits."""
        return min(line[0].arrived_at for line in (self._first, *self._lines.values()) if line)


class Places:
    """Who is inside, by owner, in the order of coming. `fair` False: nobody gives a place up."""

    def __init__(self, fair: bool) -> None:
        self._fair = fair
        self._inside: dict[str, dict[Request, None]] = {}

    def enter(self, request: Request) -> None:
        """It has come in."""
        self._inside.setdefault(owner(request.wish.client), {})[request] = None

    def leave(self, request: Request) -> None:
        """It has its answer, or is gone."""
        whose = owner(request.wish.client)
        if (mine := self._inside.get(whose)) is not None:
            mine.pop(request, None)
            if not mine:
                del self._inside[whose]

    def yields(self, client: str, waits: Callable[[Request], bool]) -> Request | None:
        """Who gives its place to a request of `client`, all being taken: one that only `waits` so far. None: nobody."""
        if not self._fair:
            return None
        would_have = len(self._inside.get(owner(client), ())) + 1
        for theirs in sorted(self._inside.values(), key=len, reverse=True):
            if len(theirs) <= would_have:
                return None
            if (newest := next(filter(waits, reversed(theirs)), None)) is not None:
                return newest
        return None


def displaced(retry_after_s: int) -> Refused:
    """What the client is told whose place another one has now."""
    return Refused("the queue is full, and its place went to a client that has fewer", retry_after_s)
