"""A streamed answer: stamped piece by piece, checked, and handed on as if it had come whole.

`POST /rag` with `"stream": true` is answered by server-sent events (HTML Standard, 9.2): `passages`, then `text` with
its number of tokens, at last `done` with what a whole answer says beside the passages, or `error` with a status. A
service may be a stranger's, so bytes, pieces and pauses are bounded.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from typing import Annotated, Any, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlsys import bodies
from mlsys.events import Events
from mlsys.loadtest.rows import Row
from mlsys.serving.http.fields import Whole

MEDIA_TYPE = "text/event-stream"
MOST_PIECES = 100_000
SLACK = 1.25
END_S = 5.0  # from the last event to the end of the body


class Broken(ValueError):
    """The stream is no answer: why, in one line."""


class Streamed(Protocol):
    """Takes the events of one answer. `tokens`: how many have come, as far as told; `pieces`: those with text."""

    tokens: int
    pieces: int
    ended: bool

    def take(self, name: str, data: bytes, at_s: float) -> None:
        """One event, at a time of the row's clock. Raises Broken, ValidationError or UnicodeError."""

    def whole(self) -> Any:
        """The answer as if it had come whole, once the body has ended; None where it is an error. Raises Broken."""


class _Told(BaseModel):
    model_config = ConfigDict(strict=True)


class Text(_Told):
    """The event `text`."""

    text: str
    tokens: Annotated[Whole, Field(ge=0, le=2**31 - 1)] | None = None


class Error(_Told):
    """The event `error`: the status that the answer would have had."""

    status: Annotated[Whole, Field(ge=400, le=599)]


def is_one(response: aiohttp.ClientResponse) -> bool:
    """Whether an answer comes piece by piece."""
    return response.content_type == MEDIA_TYPE


async def read(
    response: aiohttp.ClientResponse, answer: Streamed, clock: Callable[[], float], stall_s: float
) -> Any:
    """What `answer` makes of a stream, as if it had come whole. None where the stream ends with an error.

    `stall_s`: once text has come, how long the next piece may take. Raises Broken, TooLarge, ClientError or OSError.
    """
    events, size = Events(), 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as patience:
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > bodies.MAX_BYTES:
                    raise bodies.TooLarge(f"the stream is larger than {bodies.MAX_BYTES} bytes")
                pieces, at_s = answer.pieces, clock()
                for name, data in events.feed(chunk):
                    answer.take(name, data, at_s)
                if answer.ended:
                    patience.reschedule(loop.time() + END_S)
                elif answer.pieces > pieces and (patience.when() or 0.0) < loop.time() + stall_s:
                    patience.reschedule(loop.time() + SLACK * stall_s)  # not for each piece: timers are dear
    except TimeoutError:
        if not patience.expired():
            raise
        slow = "was not closed after its end" if answer.ended else f"stalled: nothing for {stall_s:g} s"
        raise Broken(f"the stream {slow}, after {answer.tokens} tokens") from None
    except (bodies.TooLarge, Broken):
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise Broken(f"the stream broke off after {answer.tokens} tokens: {type(error).__name__}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f" {place}:" for place in first["loc"])
        raise Broken(f"an event of the stream:{where} {first['msg']}") from None
    except UnicodeError:
        raise Broken("the stream is no UTF-8") from None
    return answer.whole()


class Pieces:
    """The text of one stream, piece by piece. Stamps the row on the way."""

    def __init__(self, row: Row) -> None:
        self._row, self._last_s = row, 0.0
        self._text = list[str]()
        self.tokens = self.pieces = 0
        self.ended = False

    def _piece(self, text: str, at_s: float) -> None:
        """A piece that has text. Raises Broken where there are too many."""
        self._text.append(text)
        self.pieces += 1
        if self.pieces > MOST_PIECES:
            raise Broken(f"the stream has more than {MOST_PIECES} pieces")
        if self._row.first_text_s is None or self._row.itl_ms is None:
            self._row.first_text_s, self._row.itl_ms = at_s, array("f")
        else:
            self._row.itl_ms.append(1e3 * (at_s - self._last_s))
        self._last_s = at_s


class RagEvents(Pieces):
    """What the events of one stream of `/rag` make up."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self._passages: Any = None
        self._body: dict[str, Any] | None = None
        self._counted = True

    def take(self, name: str, data: bytes, at_s: float) -> None:
        """One event. Raises Broken, ValidationError or UnicodeError for one that may not come, or not now."""
        if self.ended:
            raise Broken("the stream goes on after its end")
        if name == "text":
            self._told(Text.model_validate_json(data), at_s)
        elif name == "passages":
            if self._passages is not None or self.pieces:
                raise Broken("the stream's passages do not come first, and once")
            self._passages = parsed(data).get("passages")
        elif name in ("done", "error"):
            self.ended, self._row.done_s = True, at_s
            if name == "done":
                self._body = parsed(data)
            else:
                self._row.status = Error.model_validate_json(data).status

    def _told(self, piece: Text, at_s: float) -> None:
        self._counted &= piece.tokens is not None
        self.tokens += piece.tokens or 0
        if piece.text:
            self._piece(piece.text, at_s)

    def whole(self) -> Any:
        """The body, None after an error. Raises Broken where the stream does not make up what its end says."""
        if not self.ended:
            raise Broken(f"the stream ended early, after {self.tokens} tokens")
        if self._body is None:
            return None
        if "".join(self._text) != self._body.get("result"):
            raise Broken("the stream's pieces do not make up its result: something was lost, or sent twice")
        if self._counted and self._body.get("tokens", self.tokens) not in (self.tokens, None):
            raise Broken(f"the stream's pieces have {self.tokens} tokens, its end says another number")
        return self._body | ({} if self._passages is None else {"passages": self._passages})


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object of an event. Raises Broken or ValueError."""
    content = bodies.parse(data)
    if not isinstance(content, dict):
        raise Broken("an event of the stream is no JSON object")
    return content
