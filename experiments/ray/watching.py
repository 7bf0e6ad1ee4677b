"""Memory and CPU time of a service with all its processes, whoever started them."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlsys.serving.process import ChildProcess

PAUSE_S = 1.0


@dataclass(frozen=True)
class Used:
    """Proportional memory now, and CPU time since it was last asked."""

    memory_mb: float
    cpu_ms: float


class Watch:
    """The service that a run starts in `directory`, or the process `pid` with its children."""

    def __init__(self, directory: Path, pid: int | None = None) -> None:
        self._directory, self._pid = directory, pid
        self._seen: dict[tuple[int, float], float] = {}
        self._counted_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def processes(self) -> list[psutil.Process]:
        """All of them that live."""
        root = self._pid or service_pid(self._directory)
        if root is None:
            return []
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(root)
            return [process, *process.children(recursive=True)]
        return []

    def used(self) -> Used:
        """Ends the interval that the next call begins. What a process used before it was first seen is left out."""
        memory = self._count()
        total_s = sum(self._seen.values())
        since_s, self._counted_s = total_s - self._counted_s, total_s
        return Used(memory / 2**20, 1e3 * since_s)

    def _count(self) -> float:
        memory = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                self._seen[key] = times.user + times.system
                memory += process.memory_full_info().pss
        return memory

    def _look(self) -> None:
        """Up to the load, so that starting is not counted as serving; then now and then, for those that end."""
        log = self._directory / "loadtest.log"
        began = time.time()
        while not self._stop.is_set() and not (
            log.exists() and log.stat().st_mtime >= began and log.stat().st_size
        ):
            self._stop.wait(0.05)
        self._count()
        self._counted_s = sum(self._seen.values())

    @staticmethod
    def until_ready(url: str, process: ChildProcess, within_s: float = 120.0) -> None:
        """Raises TimeoutError, or what the process died of."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            process.address()
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(url, timeout=5) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{url} is not answered")


def service_pid(directory: Path) -> int | None:
    """The process of the service whose configuration lies in `directory`."""
    wanted = str(directory / "server.yaml")
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "mlsys.serve" in words and wanted in words:
            return int(process.pid)
    return None
