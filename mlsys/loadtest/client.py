"""One request over HTTP, stamped and judged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from mlsys.loadtest.answer import judge
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, TIMED_OUT, Row

PATH = "/rag"


class Client:
    """Connections to one service, as an async context manager. As many as the load takes."""

    def __init__(
        self, url: str, headers: Mapping[str, str], k: int, timeout_s: float, expected_tokens: int | None
    ) -> None:
        self._url, self._headers, self._k = url.rstrip("/"), dict(headers), k
        self._timeout_s, self._expected_tokens = timeout_s, expected_tokens

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Send the question, fill in the row, failures too. `clock` gives s since the level began."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body, parsed_at = await self._post(row, question, clock)
            row.status, row.done_s = status, parsed_at
            judge(row, question, body, self._expected_tokens)
        except TimeoutError:
            row.done_s, row.outcome = clock(), TIMED_OUT
            row.error = f"no answer within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            row.done_s, row.outcome, row.error = clock(), FAILED, f"{type(error).__name__}: {error}"

    async def _post(self, row: Row, question: Question, clock: Callable[[], float]) -> tuple[int, Any, float]:
        sent = {"query": question.text, "k": self._k}
        async with self._session.post(self._url + PATH, json=sent) as response:
            row.status, row.first_byte_s = response.status, clock()
            row.retry_after_s = _seconds(response.headers.get("Retry-After"))
            content = await response.read()
            done_s = clock()
            return response.status, json.loads(content) if response.status == 200 else None, done_s

    async def get(self, path: str) -> Any:
        """The JSON of a GET, or None where the service has none."""
        try:
            async with asyncio.timeout(5), self._session.get(self._url + path) as response:
                return await response.json(content_type=None) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            return None


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else float(header)
    except ValueError:
        return None
