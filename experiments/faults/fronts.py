"""Our balancer and HAProxy in front of the same replicas, broken in the same way, one after the other.

    python experiments/faults/fronts.py [--haproxy PATH] [--directory DIR] [--faults kill,stop,hang,slow] [overrides]

Two replicas are started here and started again when they die. Each is reached through a proxy that `hang` holds.
`slow` is measured with `balancer=peak_ewma` too.
Writes a record a front and fault into the directory, and prints a table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir

from mlsys import record
from mlsys.faults.conductor import Conductor
from mlsys.faults.detour import Detours
from mlsys.faults.scene import Scene, address_of
from mlsys.faults.stage import planned
from mlsys.loadtest import service
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.children import environment
from mlsys.loadtest.service import Target
from mlsys.record import Record
from mlsys.run import config
from mlsys.serving.balancer.backoff import Backoff
from mlsys.serving.http.server import bind
from mlsys.serving.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = ["corpus=animals", "embedder=hashing", "generator=simulated", "generator.base_ms=100"]
SIMULATED += [
    "generator.per_token_ms=0",
    "loadtest=poisson",
    "loadtest.request_rate=30",
    "loadtest.requests=300",
]
SIMULATED += ["loadtest.engine_ceiling=false", "loadtest.quality_questions=0", "loadtest.timeout_s=10"]
NAMES = ("replica-0", "replica-1")
LATENCY = "lb-peak_ewma"
HAPROXY = """
global
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server {timeout_s}s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
    option httpchk GET /ready
frontend all
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    default-server check inter 2s rise 2 fall 3 observe layer7 error-limit 5 on-error mark-down
    server replica-0 {replica_0}
    server replica-1 {replica_1}
"""


class Kept:
    """A replica that is started again when it has died, from a thread that lives as long."""

    def __init__(self, name: str, plain: dict[str, Any], directory: Path) -> None:
        self._name, self._directory, self._over = name, directory, threading.Event()
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(plain))
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Kept:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        backoff = Backoff(0.5, 30.0)
        for number in range(1000):
            argv = [sys.executable, "-m", "mlsys.serve", str(self._directory / f"{self._name}.yaml")]
            log = self._directory / f"{self._name}.{number}.log"
            born = time.monotonic()
            with ChildProcess(argv, environment(), log) as process:
                while process.alive and not self._over.wait(0.05):
                    continue
            if self._over.wait(backoff.after(time.monotonic() - born)):
                return


class Watched(Scene):
    """Both fronts are judged by their clients alone."""

    def look(self) -> Mapping[tuple[str, str], float]:
        return {("replica_up", name): 1.0 for name in self.replicas}


class Behind(ServingBenchmark):
    """The serving benchmark of two replicas behind `front`."""

    def __init__(self, front: str, haproxy: str, fault: Any, plain: dict[str, Any], directory: Path) -> None:
        super().__init__(plain | {"fault": {"name": "none"}}, directory)
        self.front, self._haproxy = front, haproxy
        self.faults = planned(plain | {"fault": fault, "server": plain["server"] | {"backends": []}})

    @contextmanager
    def staged(self) -> Iterator[tuple[Target, Conductor]]:
        self.directory.mkdir(parents=True, exist_ok=True)
        replica = compose("config", ["server=batch", *SIMULATED])["server"]
        with ExitStack() as running:
            for name in NAMES:
                own = {**self.config, "server": {**config.resolved(replica), "label": name, "max_tokens": 32}}
                running.enter_context(Kept(name, own, self.directory))
            detours = running.enter_context(Detours())
            urls = [detours.add(name, partial(address_of, self.directory, name)).url for name in NAMES]
            while not all(
                list(self.directory.glob(f"{name}.0.log")) and _serves(self.directory, name) for name in NAMES
            ):
                time.sleep(0.1)
            target = running.enter_context(self._in_front(urls))
            yield (
                target,
                Conductor(self.faults, Watched(self.directory, target.url, os.getpid(), NAMES, detours)),
            )

    @contextmanager
    def _in_front(self, urls: list[str]) -> Iterator[Target]:
        if self.front != "haproxy":
            server = {**self.config["server"], "backends": urls}
            with service.running({**self.config, "server": server}, self.directory) as target:
                yield target
            return
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
        path = self.directory / "haproxy.cfg"
        places = {f"replica_{index}": url.removeprefix("http://") for index, url in enumerate(urls)}
        path.write_text(HAPROXY.format(port=port, timeout_s=2, **places))
        with ChildProcess(
            [self._haproxy, "-W", "-db", "-f", str(path)], None, self.directory / "haproxy.log"
        ):
            time.sleep(1.0)
            yield Target(f"http://127.0.0.1:{port}", None, None, 1.0)


def _serves(directory: Path, name: str) -> bool:
    try:
        return bool(address_of(directory, name))
    except ValueError:
        return False


def measured(front: str, haproxy: str, fault: str, overrides: list[str], directory: Path) -> Record:
    words = ["server=lb", "tracking=off", *SIMULATED, f"fault={fault}", *overrides]
    words += ["balancer=peak_ewma"] if front == LATENCY else []
    plain = config.resolved(compose("config", words))
    run = Record("serving", ["fronts.py", front, fault], plain, record.digest(plain), {}, record.now())
    for part in Behind(front, haproxy, plain["fault"], plain, directory).measure():
        run.add(part)
    run.end()
    run.write(directory)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--haproxy", default=shutil.which("haproxy") or "/usr/sbin/haproxy")
    parser.add_argument("--directory", type=Path, default=Path("outputs/fronts"))
    parser.add_argument("--faults", default="kill,stop,hang,slow")
    given, overrides = parser.parse_known_args()
    if subprocess.run([given.haproxy, "-v"], capture_output=True, check=False).returncode:
        parser.error(f"--haproxy={given.haproxy} does not run (Debian: apt-get install haproxy)")
    config.register()
    heads = ["fault", "in front", "lost", "refused", "p50 ms", "p99 ms", "slowest ms", "worst second"]
    print("| " + " | ".join(heads) + " |\n|---|---" + "|---:" * 6 + "|")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for fault in given.faults.split(","):
            for front in ("lb", *([LATENCY] if fault == "slow" else []), "haproxy"):
                values = measured(
                    front, given.haproxy, fault, overrides, given.directory.resolve() / f"{fault}-{front}"
                ).levels[0]
                names = (
                    "fault.lost",
                    "fault.refused",
                    "e2e_ms.p50",
                    "e2e_ms.p99",
                    "e2e_ms.max",
                    "fault.worst_second_rps",
                )
                print(
                    f"| {fault} | {front} | "
                    + " | ".join(f"{values[name] or 0:.0f}" for name in names)
                    + " |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
