"""The service under load: ours, started for the run and stopped after it, or somebody else's."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlsys import keys, progress
from mlsys.errors import UserError
from mlsys.loadtest.children import environment
from mlsys.loadtest.questions import Question
from mlsys.serving import options
from mlsys.serving.process import Process

START_TIMEOUT_S = 1800.0
STOP_TIMEOUT_S = 10.0
STOP_AT_ONCE_S = 0.3


@dataclass
class Service:
    """A service that answers at `url`. `process` is None where it is not ours."""

    url: str
    key: str | None
    process: Process | None
    startup_s: float | None

    def check(self) -> None:
        """Raise RuntimeError if our service has ended."""
        if self.process is not None and not self.process.alive:
            raise RuntimeError(
                f"the service ended with {self.process.returncode} (its output: {self.process.log})"
            )

    def ask(self, question: Question, k: int, timeout_s: float) -> float:
        """Ask one question, return the ms it took. Without an answer UserError (external) or RuntimeError."""
        started = time.perf_counter()
        try:
            self._open("/rag", timeout_s, {"query": question.text, "k": k})
        except (OSError, ValueError) as error:
            raise self._no_answer(error) from None
        return 1e3 * (time.perf_counter() - started)

    def _no_answer(self, error: OSError | ValueError) -> Exception:
        reason = f"cannot be reached: {getattr(error, 'reason', error)}"
        if isinstance(error, urllib.error.HTTPError):
            reason = f"answers POST /rag with status {error.code} ({error.reason})"
        elif isinstance(error, ValueError):
            reason = "answers POST /rag with something that is no JSON"
        if self.process is None:
            return UserError(f"server.url={self.url} {reason}")
        self.check()
        return RuntimeError(f"the service {reason} (its output: {self.process.log})")

    def stats(self) -> Mapping[str, Any]:
        """What the service says of itself on `/stats`; empty where it has none."""
        try:
            content = self._open("/stats", 5.0)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, Mapping) else {}

    def _open(self, path: str, timeout_s: float, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.key}"} if self.key else {}
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout_s) as response:
            return json.load(response)


@contextmanager
def running(config: Mapping[str, Any], directory: Path) -> Iterator[Service]:
    """The service that `config` names, ready, for as long as the body runs. Ours leaves no process behind."""
    section = config["server"]
    if section["name"] == "external":
        external = options.External(**section)
        yield Service(str(external.url).rstrip("/"), keys.read(section.get("api_key")), None, None)
        return
    process = Process(
        [sys.executable, "-m", "mlsys.serve", str(_write(config, directory))],
        environment(),
        directory / "server.log",
    )
    started, calm = time.perf_counter(), False
    process.start()
    try:
        with progress.step(f"server={section['name']}: loading"):
            url = process.wait_ready(START_TIMEOUT_S)
        yield Service(
            url.rstrip("/"), keys.read(section.get("api_key")), process, time.perf_counter() - started
        )
        calm = True
    finally:
        process.terminate(STOP_TIMEOUT_S if calm else STOP_AT_ONCE_S)


def _write(config: Mapping[str, Any], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "server.yaml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return path
