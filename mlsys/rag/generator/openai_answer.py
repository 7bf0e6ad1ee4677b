"""An answer in OpenAI's form, whole or as a stream of chunks, read within bounds.

Where a server counts its tokens (`usage`) the numbers are its own. Where it does not they are not known: chunks are no
tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlsys import bodies
from mlsys.events import Events
from mlsys.rag.upstream.errors import UpstreamError, refusal

STREAM = "text/event-stream"
END = b"[DONE]"
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Read(BaseModel):
    """Other fields are not looked at."""

    model_config = ConfigDict(strict=True)


class Usage(_Read):
    """Tokens read and written, as the server counted them."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Said(_Read):
    """A message, or the part of one."""

    content: str | None = None


class Choice(_Read):
    """One answer of a chat (`message`, `delta`) or of a text (`text`)."""

    message: Said | None = None
    delta: Said | None = None
    text: str | None = None
    finish_reason: Annotated[str, Field(max_length=40)] | None = None

    @property
    def written(self) -> str:
        """Its text."""
        said = self.delta or self.message
        return self.text or (said.content if said is not None else None) or ""


class Body(_Read):
    """A whole answer, or a chunk."""

    choices: list[Choice] = []
    usage: Usage | None = None


def _nobody() -> None:
    """Nobody is told."""


class Answer:
    """What has come of one answer. `tell` is given each piece of its text as it comes; `heard` is called for each."""

    def __init__(
        self, tell: Callable[[str], None] | None = None, heard: Callable[[], None] = _nobody
    ) -> None:
        self._tell, self._heard, self._sent_at = tell, heard, 0.0
        self._pieces: list[str] = []
        self.finish, self.usage = "", Usage()
        self.first_s: float | None = None

    @property
    def text(self) -> str:
        """All that has come."""
        return "".join(self._pieces)

    def sent(self) -> None:
        """It has been asked for, now."""
        self._sent_at = time.perf_counter()

    def begun(self) -> bool:
        """Whether somebody has been told of any of it."""
        return self._tell is not None and bool(self._pieces)

    async def read(self, response: aiohttp.ClientResponse) -> Answer:
        """Fill it in from a response of status 200. Raises UpstreamError, ValueError, ClientError or OSError."""
        self._pieces, self.first_s = [], None  # of an attempt before
        try:
            if response.content_type == STREAM:
                await self._stream(response)
            else:
                self._take(Body.model_validate(_object(await bodies.read(response))))
                self._check(whole=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return self

    async def _stream(self, response: aiohttp.ClientResponse) -> None:
        events, size, ended = Events(), 0, False
        async for chunk in response.content.iter_any():
            self._heard()
            if (size := size + len(chunk)) > bodies.MAX_BYTES:
                response.close()
                raise bodies.TooLarge(f"the stream is larger than {bodies.MAX_BYTES} bytes")
            for _, data in events.feed(chunk):
                ended = ended or data == END
                if not ended:
                    self._take(Body.model_validate(_object(data)))
        self._check(whole=ended)

    def _take(self, body: Body) -> None:
        if body.usage is not None:
            self.usage = body.usage
        for choice in body.choices[:1]:
            self.finish = choice.finish_reason or self.finish
            if text := choice.written:
                if self.first_s is None:
                    self.first_s = time.perf_counter() - self._sent_at
                self._pieces.append(text)
                if self._tell is not None:
                    self._tell(text)

    def _check(self, whole: bool) -> None:
        """Raise UpstreamError where the answer has no end."""
        if not whole and not self.finish:
            text = f"broke off its answer after {len(self.text)} characters"
            raise UpstreamError(502, "connection", text, again=True)
        if not self.finish and not self._pieces:
            raise ValueError("the answer has no choices")


def _object(content: bytes) -> dict[str, Any]:
    """Its JSON. Raises ValueError where it is no object, UpstreamError where that says an error."""
    found = bodies.parse(content)
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    if found.get("error"):
        error = found["error"]
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        raise refusal(status, {}, content)
    return found
