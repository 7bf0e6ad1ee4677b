"""One load on every service in turn: `python experiments/ray/measure.py [--seconds 6] [--only NAME] [--directory DIR]`.

For each service: throughput, latency, success, answers equal or not, memory and CPU time of all its processes. Then a
replica and what stands before the replicas are killed under load (`kills`), a rush comes and goes under autoscaling
(`scaling`), and a node of a cluster is killed (`nodes`). The directory gets `rows.jsonl` and `tables.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from kills import killed
from nodes import lost
from scaling import scaled
from watching import Watch

from mlsys import extras
from mlsys.defaults import ROOT
from mlsys.errors import one_line
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.children import environment
from mlsys.record import Level
from mlsys.run import config
from mlsys.serving.process import ChildProcess
from mlsys.serving.ray_serve.cluster import free_port

QUIET = ("loadtest.engine_ceiling=false", "loadtest.quality_questions=0", "tracking=off", "corpus=animals")
LIGHT = ("embedder=hashing", "device=cpu")
# 5 ms and 1 ms a request: 16 together take 21 ms, so one replica can answer about 760 a second
ENGINE = ("generator=simulated", "generator.per_token_ms=0")
TINY = ("generator=random", "generator.shape=tiny", "generator.dtype=float32")
RATES = (10, 100, 500)
CLIENTS = 16
SAME = ("batching.max_size=16", "batching.timeout_ms=5", "server.max_queue=256")


@dataclass(frozen=True)
class Service:
    """A row of the tables."""

    name: str
    words: tuple[str, ...]
    lit: bool = False


OTHERS = {"kills": killed, "scaling": scaled, "nodes": lost}
RAY = "server=ray"
SERVICES = (
    Service("batch", ("server=batch",)),
    Service("LitServe", ("server=batch",), lit=True),
    Service("ray, mlsys, 1 replica", (RAY,)),
    Service("lb, 2 replicas", ("server=lb", "server.replicas=2", "balancer=least_in_flight")),
    Service("ray, mlsys", (RAY, "server.replicas=2")),
    Service("ray, ray's batcher", (RAY, "server.replicas=2", "server.batcher=ray")),
    Service("ray, mlsys, HAProxy", (RAY, "server.replicas=2", "server.proxy=haproxy")),
    Service(
        "ray, ray's batcher, HAProxy",
        (RAY, "server.replicas=2", "server.batcher=ray", "server.proxy=haproxy"),
    ),
)


def composed(*words: str) -> dict[str, Any]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return config.resolved(compose("config", list(words)))


@contextmanager
def peer(
    service: Service, words: tuple[str, ...], directory: Path
) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """The words of a run; LitServe is started beside it, and is somebody else's to it."""
    if not service.lit:
        yield (*service.words, *words), None
        return
    directory.mkdir(parents=True, exist_ok=True)
    path, port = directory / "lit.yaml", free_port("127.0.0.1", 0)
    path.write_text(yaml.safe_dump(composed(*service.words, *words)))
    argv = [sys.executable, str(Path(__file__).with_name("lit.py")), str(path), str(port)]
    with ChildProcess(argv, environment(), directory / "lit.log") as process:
        url = f"http://127.0.0.1:{port}"
        Watch.until_ready(f"{url}/ready", process)
        kept = tuple(word for word in words if not word.startswith("server."))
        yield ("server=external", f"server.url={url}", *kept), process.pid


def measured(service: Service, words: tuple[str, ...], directory: Path) -> list[dict[str, Any]]:
    """A row for each level."""
    rows = []
    with peer(service, words, directory) as (given, pid):
        watch = Watch(directory, pid)
        with watch:
            for part in ServingBenchmark(composed(*given), directory).measure():
                if isinstance(part, Level):
                    rows.append(row(service.name, part, watch))
    return rows


def row(name: str, level: Level, watch: Watch) -> dict[str, Any]:
    values = level.values
    kept = (
        "offered_rate_rps",
        "concurrency",
        "requests",
        "throughput_rps",
        "e2e_ms.p50",
        "e2e_ms.p95",
        "success_rate",
    )
    used = watch.used()
    return {
        "service": name,
        **{key: values.get(key) for key in (*kept, "valid", "batch_size.mean")},
        "answers": values.get("answers_digest.measured"),
        "memory_mb": used.memory_mb,
        "cpu_ms_a_request": used.cpu_ms / max(1, int(values["requests"] or 0)),
    }


def table(rows: list[dict[str, Any]], title: str) -> str:
    """Markdown; `equal`: the answers are those of the first service under that load."""
    first: dict[Any, Any] = {}
    lines = [
        f"**{title}**",
        "",
        "| service | load | req/s | p50, ms | p95, ms | success | equal | MB | CPU ms a request |",
    ]
    lines.append("|---" * 9 + "|")
    for one in rows:
        load = one["offered_rate_rps"] or one["concurrency"]
        same = first.setdefault(load, one["answers"]) == one["answers"]
        shown = (
            one["service"], f"{load:g}", f"{one['throughput_rps']:.1f}", f"{one['e2e_ms.p50']:.1f}",
            f"{one['e2e_ms.p95']:.1f}", f"{one['success_rate']:.1%}", "yes" if same else "no",
            f"{one['memory_mb']:.0f}", f"{one['cpu_ms_a_request']:.2f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each level")
    parser.add_argument("--only", nargs="*", default=[], help="services, by name")
    parser.add_argument("--parts", nargs="*", default=["open", "closed", *OTHERS])
    parser.add_argument("--directory", type=Path, default=Path("outputs/ray"))
    given = parser.parse_args()
    config.register()
    directory: Path = given.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    common = (*QUIET, *LIGHT, *SAME, f"loadtest.duration_s={given.seconds:g}")
    parts = {
        "open": (
            "Open loop, simulated engine",
            (*common, *ENGINE, "loadtest=poisson", f"loadtest.request_rate={list(RATES)}"),
        ),
        "closed": (
            "16 clients, tiny model, float32",
            (*common, *TINY, "loadtest=closed", f"loadtest.concurrency={CLIENTS}"),
        ),
    }
    text = []
    for name in given.parts:
        if name in OTHERS:
            text.append(OTHERS[name](directory, common, composed))
            continue
        title, words = parts[name]
        rows = []
        for service in SERVICES:
            if (given.only and service.name not in given.only) or (service.lit and extras.absent("litserve")):
                continue
            try:
                rows += measured(service, words, directory / name / service.name.replace(" ", "_"))
            except Exception as error:  # a peer that fails is a row of the report, not its end
                print(f"{service.name}: {one_line(error)}", file=sys.stderr)
        with (directory / "rows.jsonl").open("a") as file:
            file.writelines(json.dumps({"part": name, **one}) + "\n" for one in rows)
        text.append(table(rows, title))
        print(text[-1], flush=True)
    (directory / "tables.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
