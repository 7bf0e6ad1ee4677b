"""The service under load: ours, started for the run and stopped after it, or somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from mlsys import keys, progress
from mlsys.errors import ProcessEnded, UserError
from mlsys.loadtest import apis, identity, server_counters
from mlsys.loadtest.apis import Api
from mlsys.loadtest.apis.rag import Rag
from mlsys.loadtest.children import environment
from mlsys.loadtest.client import GET_TIMEOUT_S, Client, bearer, said
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.server_counters import Stats
from mlsys.record import Scalar
from mlsys.serving.process import ChildProcess

START_TIMEOUT_S = 1800.0
STOP_TIMEOUT_S = 10.0
STOP_AT_ONCE_S = 0.3
ENDING_S = 1.0  # from the close of a dying process's socket to its end


@dataclass
class Target:
    """A service that answers at `url`. `process` is None where it is not ours.

    `api`: how it is asked; `section` the same as knobs; `told`: what a stranger says of itself.
    """

    url: str
    key: str | None
    process: ChildProcess | None
    startup_s: float | None
    api: Api = field(default_factory=Rag)
    section: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Scalar] = field(default_factory=dict)
    certificate: str | None = None
    backends: Sequence[str] = ()  # that the user gave to our balancer

    def check(self) -> None:
        """Raise ProcessEnded if our service has ended."""
        if self.process is not None and not self.process.alive:
            raise ProcessEnded(f"the service {self.process.ending()}")

    def ask(self, question: Question, k: int, timeout_s: float, max_tokens: int | None = None) -> float:
        """Ask one question as the load will, return the ms it took. What its answer lacks is said, not raised.

        Raises UserError (external) or RuntimeError where the service cannot be reached, or does not answer in JSON with
        status 200 in time.
        """
        row, started = Row(0, 0, max_tokens=max_tokens), time.perf_counter()

        async def ask() -> Any:
            async with self._client(k, timeout_s) as client:
                return await client.send(row, question, lambda: time.perf_counter() - started)

        try:
            body = asyncio.run(ask())
        except TimeoutError:
            late = self._unfit(f"gives no answer to {self.api.shown} within {timeout_s:g} s")
            if isinstance(late, UserError):
                raise late from None
            raise UserError(
                f"loadtest.timeout_s={timeout_s:g}: {late}"
            ) from None  # it is there, and slower than asked
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unfit(_problem(error, row.status, self.api.shown)) from None
        self.api.judge(row, question, body, None)
        if row.status != 200:
            raise self._unfit(f"answers {self.api.shown} with {row.error}")
        if row.outcome != OK:
            progress.say(f"the first answer of the service is none: {row.error}")
        return 1e3 * row.done_s

    def _client(self, k: int, timeout_s: float) -> Client:
        headers = bearer(self.key, self.section.get("key_header"))
        return Client(self.url, headers, k, timeout_s, None, None, self.api, self.certificate)

    def _unfit(self, reason: str) -> Exception:
        if self.process is None:
            return UserError(f"server.url={self.url} {reason}")
        if self.backends and self.process.alive:
            return UserError(
                f"server.backends=[{','.join(self.backends)}]: the balancer before them {reason}"
            )
        with contextlib.suppress(TimeoutError):
            self.process.wait(ENDING_S)
        self.check()
        return RuntimeError(f"the service {reason} (its output: {self.process.log})")

    def stats(self) -> Stats:
        """What the service says of itself on `/stats`; empty where it has none."""

        async def get() -> Any:
            async with self._client(1, GET_TIMEOUT_S) as client:
                return await client.get(server_counters.PATH)

        return server_counters.read(asyncio.run(get()))


def _problem(error: Exception, status: int | None, asked: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = getattr(getattr(error, "os_error", None), "errno", None)
        if isinstance(number, int) and number in errno.errorcode:
            return f"cannot be reached: [Errno {number}] {os.strerror(number)}"
        return f"cannot be reached: {said(error)}"
    if status is not None and not isinstance(error, aiohttp.ClientError):
        return f"answers {asked} with something that is no JSON: {said(error)}"
    return f"gives no answer to {asked}: {said(error)}"


@contextmanager
def running(
    config: Mapping[str, Any], directory: Path, env: Mapping[str, str] | None = None
) -> Iterator[Target]:
    """The service that `config` names, ready, for as long as the body runs. Ours leaves no process behind.

    `env`: what is added to the environment of its processes.
    """
    section = config["server"]
    if section["name"] == "external":
        yield _stranger(section)
        return
    process = ChildProcess(
        [sys.executable, "-m", "mlsys.serve", str(_write(config, directory))],
        environment(env),
        directory / "server.log",
    )
    started, calm = time.perf_counter(), False
    process.start()
    try:
        with progress.step(f"server={section['name']}: loading"):
            url = process.wait_ready(START_TIMEOUT_S)
        yield Target(
            url.rstrip("/"),
            keys.read(section.get("api_key")),
            process,
            time.perf_counter() - started,
            certificate=section.get("tls_cert"),
            backends=section.get("backends") or (),
        )
        calm = True
    finally:
        process.terminate(STOP_TIMEOUT_S if calm else STOP_AT_ONCE_S)


def _stranger(section: Mapping[str, Any]) -> Target:
    """A service at an address, asked what it is; where no model is chosen, its first."""
    url, key = section["url"].rstrip("/"), keys.read(section.get("api_key"))
    headers = bearer(key, section.get("key_header"))
    known = identity.ask(apis.make(section).root(url), headers)
    chosen = dict(section)
    if "model" in apis.USED[section.get("api", "rag")] and section.get("model") is None:
        chosen["model"] = known.model
    return Target(url, key, None, None, apis.make(chosen), chosen, known.described(chosen.get("model")))


def _write(config: Mapping[str, Any], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "server.yaml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return path
