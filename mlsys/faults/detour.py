"""A small TCP proxy in between: what passes it can be held, delayed, throttled or broken off.

It knows of HTTP only whether a connection's last request was a POST: what comes back from that is an answer.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from mlsys.faults import Fault, Scene

PIECE = 65_536
POLL_S = 0.005
TICK_S = 0.1
RESET = struct.pack("ii", 1, 0)  # linger for no time: close sends RST


@dataclass(frozen=True)
class Rule:
    """What happens to what passes. `share`: of the connections, each drawn once by `seed`."""

    cut: bool = False
    hold_answers: bool = False
    delay_s: float = 0.0
    reset_after: int | None = None
    bytes_per_s: float | None = None
    share: float = 1.0
    seed: int = 0


class Detour:
    """One listening socket and the address behind it, asked for anew with each connection: it may have moved."""

    def __init__(self, upstream: Callable[[], str]) -> None:
        self.rule, self.upstream, self._count = Rule(), upstream, 0
        self._carried = set[asyncio.Future[None]]()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def serve(self) -> None:
        """Until it is cancelled."""
        async with await asyncio.start_server(self._begin, sock=self.listener) as server:
            await server.serve_forever()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.ensure_future(self._carry(reader, writer))
        self._carried.add(carrying)
        carrying.add_done_callback(self._carried.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        passing = _Passing(self, self._count, writer)
        ends = [writer]
        try:
            place = urlsplit(self.upstream())
            theirs_reader, theirs = await asyncio.open_connection(place.hostname, place.port)
            ends.append(theirs)
            await _first(passing.up(reader, theirs), passing.down(theirs_reader, writer))
        except (OSError, ValueError):
            writer.transport.abort()
        finally:
            for end in ends:
                end.close()


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends, however it does; the others are ended too."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Passing:
    """One connection through a detour. `up`: towards the service."""

    def __init__(self, detour: Detour, number: int, writer: asyncio.StreamWriter) -> None:
        self._detour, self._number, self._writer = detour, number, writer
        self._asking, self._sent = False, 0

    @property
    def _rule(self) -> Rule:
        rule = self._detour.rule
        drawn = random.Random(f"{rule.seed} {self._number}").random()
        return rule if drawn < rule.share else Rule()

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            if data.startswith((b"GET ", b"POST ", b"HEAD ")):
                self._asking, self._sent = data.startswith(b"POST "), 0
            await self._pass(data, writer)

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            while self._asking and self._rule.hold_answers:
                await asyncio.sleep(POLL_S)
            if (most := self._rule.reset_after) is not None and self._sent + len(data) > most:
                writer.write(data[: max(most - self._sent, 0)])
                await writer.drain()
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
                return
            self._sent += len(data)
            await self._pass(data, writer)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if delay_s := self._rule.delay_s:
            await asyncio.sleep(delay_s)
        while data:
            while self._rule.cut:
                await asyncio.sleep(POLL_S)
            rate = self._rule.bytes_per_s
            piece = data if rate is None else data[: max(1, int(rate * TICK_S))]
            data = data[len(piece) :]
            writer.write(piece)
            await writer.drain()
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)


class Detours:
    """All of a run, on an event loop in a thread of their own. Use as a context manager."""

    def __init__(self) -> None:
        self.by_name: dict[str, Detour] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="detours", daemon=True)

    def add(self, name: str, upstream: Callable[[], str]) -> Detour:
        """A new one, which carries at once."""
        detour = self.by_name[name] = Detour(upstream)
        asyncio.run_coroutine_threadsafe(detour.serve(), self._loop)
        return detour

    def __enter__(self) -> Detours:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # transports that were closed are so in the next round


class Bent(Fault):
    """A fault of the way to a replica, or to the service where there is none."""

    way: ClassVar[str] = "replica"
    process: ClassVar[bool] = False

    def made(self) -> Rule:
        """What happens to what passes while it lasts."""
        raise NotImplementedError

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Bend, wait, straighten."""
        try:
            for target in targets:
                scene.rule(target, self.made())
            over.wait(self.for_s)
        finally:
            for target in targets:
                scene.rule(target, Rule())
