"""Bodies that other services send, read within a bound: an answer that never ends must cost its sender's
request, not this process's memory.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp

MAX_BYTES = 16 << 20  # an answer with 20 passages of 100 KB each is 2 MB


class TooLarge(aiohttp.ClientPayloadError):
    """The body is larger than the bound. The connection has been closed."""


async def read(response: aiohttp.ClientResponse, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole body, unpacked. Raises TooLarge beyond `max_bytes`, ClientError or OSError if it breaks off.

    For use inside `async with session.get(...) as response`, with a time limit of the caller's own.
    """
    chunks, size = list[bytes](), response.content_length or 0
    if size <= max_bytes:
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > max_bytes:
                break
            chunks.append(chunk)
    if size > max_bytes:
        response.close()
        raise TooLarge(f"the body is larger than {max_bytes} bytes")
    return b"".join(chunks)


def parse(content: bytes) -> Any:
    """The JSON of a body. Raises ValueError where it is none, or so deep or long that it cannot be read."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
