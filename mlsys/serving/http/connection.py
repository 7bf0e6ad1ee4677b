"""One client's connection: how large a head may be, how long a request may take to arrive, how many may be open.

Uvicorn's own protocol bounds none of these. A client that is refused while it still sends is answered first,
then listened to for a moment and thrown away: a connection closed with unread data in it is reset, and a reset
takes the answer with it.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlsys.serving.http.bounds import Bounds
from mlsys.serving.http.pipelined import Pipelined
from mlsys.serving.http.trail import REFUSED

HEAD_BYTES = 65536  # request line, headers and trailers, and the frame of a chunk
PIECE_BYTES = 4096  # so much may pass the bound unseen
LINGER_BYTES, LINGER_S = 16 << 20, 3.0
BETWEEN, HEAD, BODY = "between requests", "head", "body"


def protocol(bounds: Bounds) -> Any:
    """What uvicorn takes as `http`."""
    return partial(Connection, bounds)


class _Wire:
    """What uvicorn writes to: the transport, but for how it is closed."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._transport, self._connection = transport, connection
        self.write = transport.write

    def close(self) -> None:
        self._connection.close()

    def is_closing(self) -> bool:
        return self._connection.closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(Pipelined):
    """Uvicorn's protocol within `Bounds`. It never upgrades: a request that asks for it is served as it is."""

    def __init__(self, bounds: Bounds, **knobs: Any) -> None:
        super().__init__(**knobs)
        self._bounds = bounds
        self._part = BETWEEN  # of the request that is arriving
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._since = self.loop.time()
        self._discard: int | None = None  # bytes that may still be thrown away, once answered for good

    # How long and how many

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, and make room for it."""
        self._wire = transport
        super().connection_made(_Wire(transport, self))  # type: ignore[arg-type]
        self._wait(self._bounds.receive_s)
        if len(self.connections) > self._bounds.connections:
            others: Any = self.connections - {self}
            oldest = min((c for c in others if c.waiting), key=lambda c: c._since, default=self)
            oldest.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._rest()
        self._part = BETWEEN
        super().connection_lost(exc)

    @property
    def waiting(self) -> bool:
        """Whether it is the client's turn: no whole request is being answered."""
        served = self.cycle is None or self.cycle.response_complete or self._part == BODY
        return served and not self.closing

    @property
    def closing(self) -> bool:
        """Whether nothing more will be read or answered here."""
        return self._discard is not None or self._wire.is_closing()

    def make_room(self) -> None:
        """Close at once, for the sake of another client."""
        if self._part != BETWEEN or self.cycle is None:
            self._refuse(503, "too many open connections (server.max_connections)")
        self._wire.close()

    def _wait(self, seconds: float) -> None:
        self._rest()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(seconds, self._late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.closing or self.flow.write_paused:
            self._wire.abort()
        elif self._part == BETWEEN:
            self._wire.close()
        else:
            limit = f"server.receive_timeout_s={self._bounds.receive_s:g}"
            self._refuse(408, f"the request did not arrive within {limit}")

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        super().pause_writing()
        self._wait(self._bounds.receive_s)

    def resume_writing(self) -> None:
        """It does."""
        self._rest()
        super().resume_writing()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Read it in pieces, so that no head grows beyond its bound."""
        if self._discard is not None:
            self._discard -= len(data)
            if self._discard < 0:
                self._wire.abort()
            return
        self._unset_keepalive_if_required()
        if self._timer is None and self.waiting:
            self._wait(self._bounds.receive_s)
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self._head_bytes += len(piece)
            self._feed(piece)
            if self.closing:
                return
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, f"the head of the request is larger than {HEAD_BYTES} bytes")
                return

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._read_on(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "this is not a valid HTTP request")

    def _read_on(self, rest: bytes) -> None:
        """Again without the offer to upgrade, which a server may ignore (RFC 9110, 7.8); it stopped the parser."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", rest]))

    @property
    def _read_again(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._part = HEAD
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, of which none is used."""
        if self._part == HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        if not self._read_again:
            super().on_headers_complete()
            self._part = BODY

    def on_chunk_header(self) -> None:
        """The frame of a chunk is here."""
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body, which the application bounds."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        if self._part == BODY:
            self._part, self._head_bytes = BETWEEN, 0
            if not self.flow.write_paused:
                self._rest()
            super().on_message_complete()

    # How it ends

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is unknown whether the body of this one will come."""
        self._since = self.loop.time()
        if self._part == BODY and self.expect_100_continue:
            self.transport.close()
        super().on_response_complete()

    def shutdown(self) -> None:
        """The server ends. What has not arrived by now is not waited for."""
        if self.cycle is None or self.cycle.response_complete:
            self._wire.close()
        elif self._part == BODY and not self.pipeline:
            self._refuse(503, "the service ends")
        else:
            self.cycle.keep_alive = False

    def close(self) -> None:
        """Close it; where a request is still arriving, only after a while of throwing it away."""
        if self._part == BETWEEN or self.closing:
            if self._wire.get_write_buffer_size():
                self._wait(self._bounds.receive_s)
            self._wire.close()
            return
        self._discard = LINGER_BYTES
        self._wait(LINGER_S)
        self.flow.resume_reading()
        if self._wire.can_write_eof():  # not with TLS: there the client sees the end when it is closed
            self._wire.write_eof()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer a request that is not here as a whole, and close. Earlier ones on the connection come first."""
        cycle: Any = self.cycle
        own = self._part == BODY
        if self.pipeline:
            self._wire.abort()
        elif not own and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self._discard = LINGER_BYTES
        else:
            if not own or not cycle.response_started:
                self._wire.write(self._problem(status, detail))
            if own:
                cycle.scope[REFUSED] = None if cycle.response_started else status
                cycle.disconnected = True
                cycle.message_event.set()
            self.transport.close()

    def _problem(self, status: int, detail: str) -> bytes:
        body = json.dumps({"detail": detail}).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])
