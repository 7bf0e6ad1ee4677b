"""The way to another server: one request, its answer or what went wrong. It is believed in nothing.

Redirects are not followed: they would carry the key elsewhere. Cookies are not kept. Bodies are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp

from mlsys import bodies
from mlsys.rag.upstream.errors import UpstreamError, plain, refusal
from mlsys.rag.upstream.health import Trouble

T = TypeVar("T")
Read = Callable[[aiohttp.ClientResponse], Awaitable[T]]
KEEP_ALIVE_S = 4.0  # uvicorn, which most engines stand on, closes an idle connection after 5
ERROR_BYTES = 65_536
TOLD_S = 5.0
CHECK_S = 2.0
KEY_REFUSED = frozenset({401, 403})


class Connection:
    """`base`: what paths are appended to; `name`: what errors call it. Made in the event loop that uses it."""

    def __init__(self, name: str, base: str, key: str | None, connect_s: float) -> None:
        self.name, self.base = name, base
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any], read: Read[T]) -> T:
        """What `read` makes of an answer of status 200. Raises UpstreamError; `read` may, and ValueError."""
        try:
            async with self._session.post(f"{self.base}{path}", json=body, allow_redirects=False) as response:
                if response.status == 200:
                    return await read(response)
                content = await bodies.read(response, ERROR_BYTES)
                raise refusal(response.status, response.headers, content)
        except UpstreamError as error:
            raise error.of(self.name) from error
        except bodies.TooLarge as error:
            raise UpstreamError(502, "no_answer", f"{self.name} breaks a bound: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(502, "connection", f"{self.name} {broken(error)}", again=True) from error
        except ValueError as error:
            text = f"{self.name} answers with what is none: {plain(str(error))}"
            raise UpstreamError(502, "no_answer", text) from error

    async def get(self, url: str) -> Any:
        """The JSON at a whole address, for what is good to know; None where there is none."""
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
            async with asyncio.timeout(TOLD_S), self._session.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return bodies.parse(await bodies.read(response))
        return None

    async def trouble(self, path: str) -> Trouble | None:
        """None where it answers with less than 500: it is there."""
        try:
            async with (
                asyncio.timeout(CHECK_S),
                self._session.get(f"{self.base}{path}", allow_redirects=False) as response,
            ):
                if response.status < 500:
                    return None
                return Trouble(f"answers GET {path} with {response.status}", is_certain=False)
        except (aiohttp.ClientError, OSError) as error:
            return Trouble(broken(error), is_certain=isinstance(error, aiohttp.ClientConnectorError))

    async def refuses_key(self, path: str) -> bool:
        """Whether it answers that the key is missing or wrong."""
        async with self._session.get(f"{self.base}{path}", allow_redirects=False) as response:
            return response.status in KEY_REFUSED


def broken(error: BaseException) -> str:
    """What happened to a connection, as the end of a sentence."""
    if isinstance(error, aiohttp.ClientConnectorError):
        cause, number = error.os_error, error.os_error.errno
        said = (
            os.strerror(number)
            if number is not None and number in errno.errorcode
            else cause.strerror or str(cause)
        )
        return f"cannot be reached: {plain(said)}"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return "cannot be reached in time"
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "broke off its answer"
    return f"broke off: {plain(str(error)) or type(error).__name__}"
