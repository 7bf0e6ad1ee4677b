"""Reads a stranger's `/metrics` before, during and after a level, and the GPUs where it runs on this machine.

Texts are only fetched while the load runs, and read after it: parsing takes time from the event loop. A service
without `/metrics` is asked once and then left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from mlsys import environment
from mlsys.loadtest.rows import Row
from mlsys.loadtest.scraping.agreement import agreement
from mlsys.loadtest.scraping.exposition import Reading, course, difference, read
from mlsys.record import Scalar

PATH = "/metrics"
MOST_BYTES = 4 << 20
EVERY_S = 1.0
MOST_KEPT = 120  # beyond it every other is dropped, and they are taken half as often
GPU_FIGURES = ("utilization_percent", "memory_used_gib", "power_w")
Gpus = Callable[[], list[dict[str, Any]]]


class Fetches(Protocol):
    """What gets a path: `mlsys.loadtest.client.Client`."""

    async def fetch(self, path: str) -> bytes | None:
        """The body of a GET with status 200, None where there is none."""


class Scraper:
    """Around one level: `async with`. `url`: GPUs are looked at where it names this machine."""

    def __init__(self, client: Fetches, url: str, gpus: Gpus | None = None) -> None:
        self._client = client
        self._gpus = gpus or _gpus if is_local(url) else None
        self._before = self._after = Reading()
        self._texts = list[str]()
        self._moments = list[list[dict[str, Any]]]()
        self._every_s = EVERY_S

    async def __aenter__(self) -> Scraper:
        self._before = read(await self._text())
        if self._gpus is not None and not await asyncio.to_thread(self._gpus):
            self._gpus = None
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if kind is None and self._before.system is not None:
            self._after = read(await self._text())

    def values(self, rows: Sequence[Row]) -> dict[str, Scalar]:
        """`counters.*` and `gpu.*` of the level whose rows these are; nothing of what is not told."""
        found = _of_gpus(self._moments)
        if self._before.system is None or self._after.system is None:
            return found
        counted = difference(self._before, self._after)
        return found | counted | course([read(text) for text in self._texts]) | agreement(rows, counted)

    async def _text(self) -> str:
        content = await self._client.fetch(PATH)
        return "" if content is None or len(content) > MOST_BYTES else content.decode(errors="replace")

    async def _watch(self) -> None:
        while self._before.system is not None or self._gpus is not None:
            await asyncio.sleep(self._every_s)
            if self._before.system is not None:
                self._texts.append(await self._text())
            if self._gpus is not None:
                self._moments.append(await asyncio.to_thread(self._gpus))
            if max(len(self._texts), len(self._moments)) > MOST_KEPT:
                self._texts, self._moments = self._texts[::2], self._moments[::2]
                self._every_s *= 2


def is_local(url: str) -> bool:
    """Whether an address names this machine by a loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _gpus() -> list[dict[str, Any]]:
    return list(environment.moment()["gpus"])


def _of_gpus(moments: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Scalar]:
    """`gpu.<i>.<figure>.mean` and `.max`, of what NVML tells."""
    found: dict[str, Scalar] = {}
    for index in range(min(map(len, moments), default=0)):
        for name in GPU_FIGURES:
            seen = [value for moment in moments if (value := moment[index].get(name)) is not None]
            if seen:
                found[f"gpu.{index}.{name}.mean"] = float(np.mean(seen))
                found[f"gpu.{index}.{name}.max"] = float(max(seen))
    return found
