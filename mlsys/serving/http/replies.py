"""From a request to an HTTP response, whichever protocol asked."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request as Http
from fastapi import Response

from mlsys.serving.http.handler import Handler, Left
from mlsys.serving.http.keyring import named, sent_with
from mlsys.serving.http.streaming import EventStream
from mlsys.serving.http.trail import CLIENT_LEFT
from mlsys.serving.modes import PASSAGES, Answer
from mlsys.serving.request import Request


def client_of(http: Http) -> str:
    """A name for the key that the client sent, which does not tell the key."""
    return named(sent_with(dict(http.headers.raw)))


async def reply(handler: Handler, request: Request, http: Http) -> Response:
    """The answer, or its beginning where it is streamed. Raises ServiceError."""
    try:
        if request.stream is None:
            return whole(await handler.ask(request, http.receive))
        coming = await handler.begin(request, http.receive)
    except Left:
        return Response(status_code=CLIENT_LEFT)
    if isinstance(coming, Answer):
        return whole(coming)
    return EventStream(coming, _headers(request.stream.replica, coming.passages))


def whole(answer: Answer) -> Response:
    """An answer with its headers."""
    headers = {"content-type": answer.content_type, **_headers(answer.replica, answer.passages)}
    if answer.retry_after:
        headers["retry-after"] = answer.retry_after
    return Response(answer.body, answer.status, headers)


def _headers(replica: str | None, passages: Sequence[int]) -> dict[str, str]:
    named = {"x-replica": replica} if replica else {}
    return {**named, PASSAGES: ",".join(map(str, passages))} if passages else named
