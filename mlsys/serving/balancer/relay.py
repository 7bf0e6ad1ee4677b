"""A replica's stream, event by event as it comes, within bounds: bytes in all, and seconds between two pieces of it.

Only whole events are passed on, so that one more can always follow. A stream that ends without a last event has broken
off, however politely its connection was closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from mlsys import bodies
from mlsys.serving.http import sse


async def events(
    response: aiohttp.ClientResponse, within_s: float, max_bytes: int = bodies.MAX_BYTES
) -> AsyncIterator[bytes]:
    """Raises TimeoutError, ClientError or OSError where it breaks off, TooLarge beyond `max_bytes`."""
    rest, size, ended = b"", 0, False
    while True:
        async with asyncio.timeout(within_s):
            piece = await response.content.readany()
        if not piece:
            break
        if (size := size + len(piece)) > max_bytes:
            response.close()
            raise bodies.TooLarge(f"the stream is larger than {max_bytes} bytes")
        *whole, rest = (rest + piece).split(sse.END)
        for event in whole:
            ended = (event + sse.END).startswith(sse.LAST)
            yield event + sse.END
    if rest or not ended:
        raise aiohttp.ClientPayloadError("the stream broke off")
