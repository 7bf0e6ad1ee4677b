"""Kill -9 one replica of a load balancer under load: what is lost, how soon it is noticed, how soon it is back.

    python experiments/replica_kill/kill.py [--after 10] [--directory DIR] [overrides as for run.py]

Writes the run's files and `kill.json` into the directory. Recovered means: restarted, loaded, and in rotation again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from hydra import compose, initialize_config_dir

from mlsys import record
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.record import Level, Record
from mlsys.run import config

ROOT = Path(__file__).resolve().parents[2]
VICTIM = "replica-1"
POLL_S = 0.02


class Killer(threading.Thread):
    """Waits for load, kills, watches the balancer's own view until the replica is up again."""

    def __init__(self, directory: Path, after_s: float) -> None:
        super().__init__(daemon=True)
        self.directory, self.after_s = directory, after_s
        self.seen: dict[str, float | int | None] = {"noticed_s": None, "recovered_s": None}

    def run(self) -> None:
        while not self._victim().get("in_flight"):
            time.sleep(POLL_S)
        time.sleep(self.after_s)
        before = self._victim()
        killed_at = time.perf_counter()
        os.kill(self._pid(), signal.SIGKILL)
        self.seen["in_flight_when_killed"] = before["in_flight"]
        while self.seen["recovered_s"] is None:
            time.sleep(POLL_S)
            now, since_s = self._victim(), time.perf_counter() - killed_at
            if now and self.seen["noticed_s"] is None and (not now["up"] or now["ejected"]):
                self.seen["noticed_s"] = since_s
            if now and self.seen["noticed_s"] is not None and now["up"] and not now["ejected"]:
                self.seen["recovered_s"] = since_s

    def _victim(self) -> dict[str, Any]:
        try:
            url = (self.directory / "server.log").read_text().split("serving on ")[1].split()[0]
            with urllib.request.urlopen(f"{url}/stats", timeout=5) as response:
                return json.load(response)["replicas"][VICTIM]
        except (OSError, IndexError, ValueError):
            return {}

    def _pid(self) -> int:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if "mlsys.serve" in line and VICTIM in line and str(self.directory) in line:
                return process.pid
        raise RuntimeError(f"no process of {VICTIM} found")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--after", type=float, default=10.0, help="seconds of load before the kill")
    parser.add_argument("--directory", type=Path, default=Path("outputs/replica_kill"))
    given, overrides = parser.parse_known_args()
    directory = given.directory.resolve()
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = config.resolved(compose("config", ["server=lb", "server.replicas=3", *overrides]))
    killer = Killer(directory, given.after)
    killer.start()
    run = Record("serving", ["kill.py", *overrides], plain, record.digest(plain), {}, record.now())
    for part in ServingBenchmark(plain, directory).measure():
        run.add(part)
        if isinstance(part, Level):
            names = (
                "requests",
                "succeeded",
                "failed",
                "timed_out",
                "rejected",
                "throughput_rps",
                "e2e_ms.max",
            )
            killer.seen |= {name: part.values[name] for name in names}
    run.end()
    run.write(directory)
    (directory / "kill.json").write_text(json.dumps(killer.seen, indent=1) + "\n")
    print(json.dumps(killer.seen, indent=1))


if __name__ == "__main__":
    main()
