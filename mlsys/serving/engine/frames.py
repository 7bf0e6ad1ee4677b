"""One socket between two processes of a service: each message is its length in four bytes, and JSON."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from typing import Any, cast

HEAD = struct.Struct("!I")
MOST_BYTES = 256 << 20
Message = dict[str, Any]


class Frames(asyncio.Protocol):
    """`take(message)` for each whole message, `lost()` once the other end is gone.

    `writable`: whether the other end reads as fast as is written; `drained()` tells that it does again. Who writes
    without looking at it must bound what it writes.
    """

    def __init__(
        self, take: Callable[[Message], None], lost: Callable[[], None], drained: Callable[[], None]
    ) -> None:
        self._take, self._lost, self._drained = take, lost, drained
        self._came, self.writable = bytearray(), True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its methods and not its class

    def data_received(self, data: bytes) -> None:
        """Give out what is whole. A message larger than `MOST_BYTES` is none: the connection ends."""
        came, start = self._came, 0
        came += data
        while len(came) - start >= HEAD.size:
            (length,) = HEAD.unpack_from(came, start)
            if length > MOST_BYTES:
                self.close()
                break
            end = start + HEAD.size + length
            if len(came) < end:
                break
            self._take(json.loads(came[start + HEAD.size : end]))
            start = end
        del came[:start]

    def send(self, message: Message) -> None:
        """Write it, or keep it to be written. Nothing where the other end is gone."""
        if self._transport is None or self._transport.is_closing():
            return
        text = json.dumps(message, separators=(",", ":"), default=_plain).encode()
        self._transport.write(HEAD.pack(len(text)) + text)

    def close(self) -> None:
        """End it, what was not written is lost."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The other end is slow."""
        self.writable = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self.writable = True
        self._drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self.writable = False
        self._lost()


def _plain(value: Any) -> Any:
    """One of NumPy's numbers as Python's."""
    return value.item()
