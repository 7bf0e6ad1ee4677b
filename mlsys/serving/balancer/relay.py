"""A replica's stream, event by event as it comes, within bounds: bytes in all, and seconds between two pieces of it.

Only whole events are passed on, so that one more can always follow. A stream that ends without a last event has broken
off, however politely its connection was closed; after its last event it is whole, however rudely.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from mlsys import bodies
from mlsys.serving.http import sse

END_S = 1.0  # for the end of an answer after its last event


async def events(
    response: aiohttp.ClientResponse, within_s: float, max_bytes: int = bodies.MAX_BYTES
) -> AsyncIterator[bytes]:
    """Raises TimeoutError, ClientError or OSError where it breaks off, TooLarge beyond `max_bytes`."""
    rest, size = b"", 0
    while True:
        try:
            async with asyncio.timeout(within_s):
                piece = await response.content.readany()
        except TimeoutError:
            raise TimeoutError(f"it said nothing for server.stream_gap_s={within_s:g} s") from None
        if not piece:
            raise aiohttp.ClientPayloadError("the stream broke off")
        if (size := size + len(piece)) > max_bytes:
            response.close()
            raise bodies.TooLarge(f"the stream is larger than {max_bytes} bytes")
        *whole, rest = (rest + piece).split(sse.END)
        for event in whole:
            yield event + sse.END
            if (event + sse.END).startswith(sse.LAST):
                await _end(response)
                return


async def _end(response: aiohttp.ClientResponse) -> None:
    """Let the connection be used again where its answer ends at once, as it should."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(END_S):
            if not await response.content.readany():
                return
    response.close()
