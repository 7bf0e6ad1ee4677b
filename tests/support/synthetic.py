"""Made-up records of every workload, for tests of what draws and compares them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mlsys import record
from mlsys.record import Level, Record, Results

HOSTILE = (
    "</script><script>document.title=1</script><img src=x onerror=\"document.title=1\"> & 'quotes' | pipe"
)


def environment(**changes: Any) -> dict[str, Any]:
    return {
        "hostname": "node-1",
        "platform": "Linux-6.1-x86_64",
        "hardware": {"cpu": "Xeon Test", "cores": 2, "memory_gib": 24.0, "gpu": None, "gpus": []},
        "driver": None,
        "load_average": [0.1, 0.1, 0.1],
        "busy_cores": 0.02,
        "busy": False,
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "git": {"commit": "0" * 40, "dirty": False},
        **changes,
    }


def start(
    workload: str, config: dict[str, Any], command: list[str], minute: int = 0, **changes: Any
) -> Record:
    return Record(
        workload=workload,
        command=["run.py", *command],
        config=config,
        config_digest=record.digest(config),
        environment=environment(**changes),
        started_at=f"2026-11-24T09:{minute:02d}:00.000+00:00",
    )


def distance(
    metric: str = "l2",
    n: int = 10**6,
    latency_ms: float | None = None,
    reduction: str = "blocked",
    **changes: Any,
) -> Record:
    rng = random.Random(f"{metric}{n}{reduction}{changes}")
    usual = (8 * n / 21e9 + 2e-5) * 1e3 * {"cosine": 1.3}.get(metric, 1.0)
    latency = latency_ms or usual
    config = {
        "metric": {"_target_": f"mlsys.distance.metrics.{metric}", "name": metric},
        "reduction": {"_target_": "mlsys.distance.reductions.auto", "name": "auto"},
        "data": {"name": "random"},
        "server": None,
        "tracking": {"name": "off"},
        "size": float(n),
        "n": n,
        "dtype": "float32",
        "device": "cpu",
        "baselines": ["numpy", "torch"],
        "repeats": 20,
        "seed": 0,
    } | changes.pop("config", {})
    made = start("distance", config, [f"metric={metric}", f"size={n}"], **changes)
    repeats = [latency * rng.gauss(1, 0.02) for _ in range(20)]
    bandwidth = 8 * n / latency / 1e6
    made.add(
        Results(
            {
                "n": n,
                "device": "cpu",
                "reduction": reduction,
                "value": 1.5,
                "reference": 1.5,
                "relative_error": rng.random() * 1e-8,
                "latency_ms": latency,
                "latency_ms_p25": latency * 0.99,
                "latency_ms_p75": latency * 1.02,
                "latency_hot_ms": latency * 0.9,
                "wall_ms": latency * 1.1,
                "bandwidth_gbps": bandwidth,
                "copy_bandwidth_gbps": 24.0,
                "copy_share": bandwidth / 24.0,
                "nan_count": 0,
                "baseline.numpy.latency_ms": usual * 4,
                "speedup.numpy": 4 + rng.random(),
                "baseline.torch.latency_ms": usual * 9,
                "speedup.torch": 9 + rng.random(),
            },
            {"latency_ms": repeats},
        )
    )
    made.end()
    return made


RATES = {
    "baseline": {1: 0.6, 5: 0.6, 10: 0.6, 20: 0.6},
    "queue": {1: 0.59, 5: 0.6, 10: 0.6, 20: 0.6},
    "batch": {1: 0.58, 5: 1.15, 10: 1.3, 20: 1.5},
    "lb": {1: 0.57, 5: 1.6, 10: 2.1, 20: 2.6},
    "continuous": {1: 0.58, 5: 1.7, 10: 2.0, 20: 2.4},
}


def serving(
    mode: str = "batch", minute: int = 0, loads: tuple[int, ...] = (1, 5, 10, 20), **changes: Any
) -> Record:
    config = {
        "metric": {"name": "l2"},
        "server": {"_target_": f"mlsys.serving.{mode}", "name": mode, "threads": 1},
        "batching": {"name": "hybrid", "max_size": 16, "timeout_ms": 20.0},
        "loadtest": {"name": "closed", "concurrency": list(loads), "requests": 120},
        "generator": {"name": "smollm2", "dtype": "float32"},
        "tracking": {"name": "off"},
        "seed": 0,
    } | changes.pop("config", {})
    made = start("serving", config, [f"server={mode}", "loadtest.concurrency=[1,5,10,20]"], minute, **changes)
    made.add(
        Results(
            {
                "generator.name": "smollm2",
                "retrieval_hit_rate": 0.78,
                "device": "cpu",
            }
        )
    )
    rates = {f"engine.batch_{size}.throughput_rps": 0.6 + 0.06 * size for size in (1, 5, 10, 16)}
    made.add(Results(rates))
    for load in loads:
        made.add(_level(mode, load))
    made.end()
    return made


def _level(mode: str, load: int) -> Level:
    rng = random.Random(f"{mode}{load}")
    rate = RATES[mode].get(load, 1.0)
    p50 = 1e3 * load / rate
    size = max(1, min(load, 16)) if mode in {"batch", "lb"} else 1
    shares = {
        "queue": 1 - min(1.0, 1.7 * rate / load),
        "embed": 0.02,
        "retrieve": 0.01,
        "prompt": 0.005,
        "respond": 0.005,
    }
    shares["generate"] = 1 - sum(shares.values())
    values: dict[str, Any] = {
        "concurrency": load,
        "engine_batch": size,
        "requests": 120,
        "succeeded": 120,
        "failed": 0,
        "rejected": 0,
        "success_rate": 1.0,
        "goodput": max(0.0, 1 - load / 40),
        "throughput_rps": rate,
        "output_tokens_per_s": rate * 32,
        "e2e_ms.mean": p50,
        "e2e_ms.p50": p50,
        "e2e_ms.p95": p50 * 1.2,
        "e2e_ms.p99": p50 * 1.3,
        "batch_size.mean": float(size),
        "batch_size.max": size,
        "valid": True,
        "retrieval_hit_rate": 0.78,
        **{f"stage_ms.{stage}.mean": share * p50 for stage, share in shares.items()},
    }
    if size > 1:
        values |= {f"batch_size.hist.{k}": rng.randint(1, 9) for k in range(1, size + 1)}
    return Level(values, {"throughput_rps": [rate * rng.gauss(1, 0.02) for _ in range(5)]})


def streamed(mode: str, **changes: Any) -> Record:
    """A serving record whose load asked for streams: `continuous` gives the first token after a tenth of the time."""
    made = serving(mode, **changes)
    made.config["loadtest"] |= {"stream": True, "output_tokens": [8, 128]}
    share = 0.1 if mode == "continuous" else 1.0
    for i, level in enumerate(made.levels):
        p50 = float(level["e2e_ms.p50"] or 0)
        level |= {"ttft_is_e2e": share == 1.0, "ttft_ms.p50": share * p50, "ttft_ms.p95": 1.2 * share * p50}
        level |= {"e2e_ms.hist.501": 100, "e2e_ms.hist.1000": 20, "ttft_ms.hist.100": 120}
        if share < 1:
            level |= {"tpot_ms.p50": p50 / 100, "tpot_ms.p95": p50 / 50, "prefix.hit_rate": 0.5}
            level |= {"itl_ms.hist.10": 50, "itl_ms.hist.12.6": 25, "itl_ms.hist.20": 25}
        course = {"s": [1.0, 2.0, 3.0], "e2e_ms": [p50] * 3, "ttft_ms": [share * p50] * 3}
        made.samples |= {f"levels.{i}.timeline.{name}": values for name, values in course.items()}
    return made


def search(metric: str = "l2", queries: int = 64, **changes: Any) -> Record:
    config = {
        "metric": {"name": metric},
        "search": {"queries": queries, "rows": 100_000, "dim": 384, "k": 10},
        "server": None,
        "seed": 0,
    }
    made = start("search", config, [f"metric={metric}", f"search.queries={queries}"], **changes)
    latency = 0.3 + queries / 100
    made.add(
        Results(
            {
                "queries": queries,
                "latency_ms": latency,
                "latency_ms_p25": latency,
                "latency_ms_p75": latency,
                "recall": 1.0,
            }
            | {"speedup.faiss": 1.7, "device": "cpu"},
            {"latency_ms": [latency] * 20},
        )
    )
    made.end()
    return made


def failed(error: str = "UserError: size=1.5 is not a whole number") -> Record:
    made = start("distance", {"metric": {"name": "l2"}, "n": 3}, ["size=1.5"])
    made.end(error)
    return made


def save(root: Path, records: list[Record], names: tuple[str, ...] = ()) -> list[tuple[Path, Record]]:
    """Write each into a directory of its own below `root`."""
    runs = [(root / (names[i] if i < len(names) else str(i)), made) for i, made in enumerate(records)]
    for place, made in runs:
        made.write(place)
    return runs


def mixture(root: Path) -> list[tuple[Path, Record]]:
    """A bit of everything, with what goes wrong."""
    records = [distance(m, n) for m in ("l2", "l1", "cosine", "dot") for n in (10**4, 10**6, 10**8)]
    records += [serving(mode, i) for i, mode in enumerate(("baseline", "queue", "batch", "lb"))]
    smaller = {"batching": {"name": "hybrid", "max_size": 4, "timeout_ms": 20.0}}
    records += [serving("batch", 5, config=smaller)]
    records += [search(m, q) for m in ("l2", "dot") for q in (1, 64, 1024)]
    records += [failed(), failed(f"ValueError: {HOSTILE}")]
    records += [start("distance", {"metric": {"name": "l2"}, "n": 7}, [], load_average=[3.0, 2.0, 1.0])]
    return save(root, records, ("device=cpu,metric=l2," + 12 * "something_long=",))
