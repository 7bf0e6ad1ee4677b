"""The server process: one socket, one event loop, uvicorn on uvloop, and an orderly end.

SIGTERM and SIGINT: readiness goes false, new requests get 503, running work ends, exit status 0. A second
signal ends it at once with status 1, and so does work that outlasts `server.drain_timeout_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import uvicorn

from mlsys import tls
from mlsys.errors import UserError
from mlsys.progress import say
from mlsys.serving import event_loop
from mlsys.serving.http import app, bounds, connection
from mlsys.serving.http.handler import Handler
from mlsys.serving.modes import Apart, Service
from mlsys.serving.options import Server
from mlsys.serving.process import READY
from mlsys.serving.reloading import Reload

POLL_S = 0.01
LAST_WORDS_S = 0.1  # for the errors of requests whose engine has died
BACKLOG = 2048
SAME_STOP_S = 1.0
ANSWER_S = 60.0
BROWSER = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
]
CLOSE_S = 5  # for connections that hold no request: an unfinished body, say


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken before anything is loaded. Raises UserError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"server.host={host} server.port={port}: cannot listen there: {reason}") from None
    return listener


def run(service: Service, options: Server, listener: socket.socket, reload: Reload | None = None) -> int:
    """Serve until a signal. Returns the exit status; does not return where threads must be abandoned."""
    sys.setswitchinterval(event_loop.SWITCH_S)
    with asyncio.Runner(loop_factory=event_loop.new) as runner:
        return runner.run(_serve(service, options, listener, reload))


class Http(uvicorn.Server):
    """Uvicorn without its own handling of signals, which would end the process by the signal, not with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    async def leave(self) -> None:
        """Answer requests that are still arriving: the end of the loop would cancel them, with a traceback each."""
        for client in list(self.server_state.connections):
            client.shutdown()
        await asyncio.sleep(POLL_S)


class _Stop:
    """The signals' handler. One stop may come twice, from a terminal and from a parent: it counts once."""

    def __init__(self) -> None:
        self.event, self._first_at = asyncio.Event(), 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if not self.event.is_set():
            self.event.set()
            self._first_at = now
        elif now - self._first_at > SAME_STOP_S:
            say("stopped at once by a second signal")
            _exit(1)


def configured(handler: Handler) -> uvicorn.Config:
    """Uvicorn's settings for the application of one handler."""
    return uvicorn.Config(
        app.create(handler), http=connection.protocol(bounds.of(handler.options)), ws="none",
        access_log=False, log_level="warning", lifespan="off", backlog=BACKLOG, timeout_keep_alive=75,
        server_header=False, timeout_graceful_shutdown=CLOSE_S, headers=BROWSER,
        ssl_certfile=handler.options.tls_cert, ssl_keyfile=handler.options.tls_key,
    )  # fmt: skip


async def _serve(service: Service, options: Server, listener: socket.socket, reload: Reload | None) -> int:
    handler = Handler(service, options, reload)
    http = Http(configured(handler))
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    if reload is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.by_signal)
    serving = asyncio.create_task(http.serve([listener]))
    while not http.started and not serving.done():
        await asyncio.sleep(POLL_S)
    if serving.done():
        await serving  # raises what was missing
        raise RuntimeError("the HTTP server ended as it began")
    try:
        drained = await _until_stopped(handler, stop, listener)
    except BaseException:
        await http.leave()
        raise
    http.should_exit = True
    if reload is not None:
        await reload.stop()
    await service.close(drained)
    if not drained:
        say("work that was still running has been abandoned")
        _exit(1)
    await serving
    return 0


async def _until_stopped(handler: Handler, stop: _Stop, listener: socket.socket) -> bool:
    """Start the service, announce it, wait for the signal, drain. Returns whether all work has ended."""
    starting = asyncio.create_task(handler.service.start())
    stopping = asyncio.create_task(stop.event.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await handler.service.close(drained=False)
        _exit(0)  # a thread that loads models cannot be asked to stop
    try:
        starting.result()
        await _answers(listener, handler.options)
    except BaseException:
        stopping.cancel()
        await handler.service.close(drained=False)
        raise
    gc.collect()
    gc.freeze()  # models and libraries stay: no collection need look at them while requests wait
    print(f"{READY}{_address(listener, handler.options)}", flush=True)
    await _stopped_or_dead(handler.service, stopping)
    return await handler.drain()


async def _stopped_or_dead(service: Service, stopping: asyncio.Task[Any]) -> None:
    """Until the signal. Raises what a service says whose engine has died; its requests have their errors then."""
    if not isinstance(service, Apart):
        await stopping
        return
    dying = asyncio.ensure_future(service.died())
    await asyncio.wait({stopping, dying}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        dying.cancel()
        return
    stopping.cancel()
    await asyncio.sleep(LAST_WORDS_S)
    await service.close(drained=False)
    raise dying.result()


async def _answers(listener: socket.socket, options: Server) -> None:
    """Ask once, as a client does: ready means that the socket answers. Raises OSError or RuntimeError where not."""
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2], ssl=tls.own(options.tls_cert))
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(ANSWER_S):
            status = await reader.readline()
    finally:
        writer.close()
    if b" 200 " not in status:
        raise RuntimeError(
            f"GET /health at {_address(listener, options)} is answered with {status.decode().strip() or 'nothing'}"
        )


def _address(listener: socket.socket, options: Server) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if options.tls_cert is None else 'https'}://{shown}:{port}"


def _exit(code: int) -> NoReturn:
    """Leave with threads still running; children die with us (see process.py)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
