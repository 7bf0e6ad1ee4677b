"""Measuring a GPU's tuning table: which cut of the vectors is the fastest at each size, and which reduction.

Cold caches, float32, medians of interleaved rounds (`mlsys.timing`). A cut is judged by l2 and cosine together, the
lightest and the heaviest of the metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mlsys import progress
from mlsys.distance import plan, tuning
from mlsys.distance.reductions.atomic import Atomic
from mlsys.distance.reductions.hierarchical import Hierarchical
from mlsys.distance.reductions.single_pass import SinglePass
from mlsys.distance.tuning import Settings
from mlsys.errors import UserError
from mlsys.timing import Clock

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)  # elements
JUDGES = ("l2", "cosine")
FEWEST, MOST = 1, 65536  # programs: candidates outside are left out, but for the one nearest
REDUCTIONS = {"single_pass": SinglePass, "hierarchical": Hierarchical, "atomic": Atomic}
TIE = 1.01  # a reduction that needs fewer launches wins when it is this near to the fastest


def candidates(vector_bytes: int) -> Iterator[Settings]:
    """The cuts worth trying for vectors of `vector_bytes`: each thread loads 16 bytes 1 to 8 times a tile."""
    for warps, tile_bytes in (
        (4, 2048), (4, 4096), (4, 8192), (4, 16384), (8, 8192), (8, 16384), (8, 32768), (16, 16384), (16, 32768),
    ):  # fmt: skip
        for tiles in (1, 2, 4, 8, 16, 32):
            programs = math.ceil(vector_bytes / (tile_bytes * tiles))
            if programs > MOST or (programs < 64 and tiles > 1):
                continue
            yield Settings(tile_bytes, tiles, warps, evict_first=vector_bytes > 2**24)
            if tiles >= 4 and 4096 <= tile_bytes <= 16384:
                yield Settings(tile_bytes, tiles, warps, stages=3, evict_first=vector_bytes > 2**24)


def tune(device: torch.device, log: Path | None = None) -> dict[str, Any]:
    """Measure `device` and return its table, `{architecture: {"source", "settings", "auto"}}`, as tuning.json holds it.

    Every time measured goes to `log`, one JSON object a line. Takes minutes and 8 GB of device memory (less memory:
    fewer sizes). Raises UserError without a GPU.
    """
    if device.type != "cuda":
        raise UserError(
            f"device={device.type}: tuning measures a GPU; the CPU's reduction has nothing to tune"
        )
    settings: list[dict[str, Any]] = []
    auto: list[dict[str, Any]] = []
    sizes = [n for n in SIZES if 10 * n < torch.cuda.mem_get_info(device)[0]]
    for i, n in enumerate(sizes):
        with progress.step(f"tuning {torch.cuda.get_device_name(device)} for {n:.0e} elements"):
            x, y = (torch.randn(n, device=device) for _ in range(2))
            best = _best(x, y, log)
            fastest = _fastest(x, y, best, log)
        until = None if i == len(sizes) - 1 else round(math.sqrt(n * sizes[i + 1]))
        settings.append({"up_to_bytes": until and 4 * until, **best.__dict__})
        auto.append({"up_to_n": until, "reduction": fastest})
    source = f"measured on {torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return {tuning.architecture(device): {"source": source, "settings": settings, "auto": _merged(auto)}}


def _best(x: torch.Tensor, y: torch.Tensor, log: Path | None) -> Settings:
    """The cut with the smallest slowdown against the fastest of each judge, averaged."""
    tried = list(candidates(x.nbytes))
    score = dict.fromkeys(tried, 0.0)
    for metric in JUDGES:
        calls = {str(i): plan(x, y, metric, SinglePass(**cut.__dict__)) for i, cut in enumerate(tried)}
        times = {tried[int(i)]: timing.median_ms for i, timing in _clock(x).cold(calls).items()}
        for cut, time_ms in times.items():
            score[cut] += time_ms / min(times.values())
            _write(log, {"n": len(x), "metric": metric, "latency_ms": time_ms, **cut.__dict__})
    return min(tried, key=score.__getitem__)


def _fastest(x: torch.Tensor, y: torch.Tensor, cut: Settings, log: Path | None) -> str:
    """The reduction that is the fastest over the judges; a tie goes to the one that stands first."""
    total = dict.fromkeys(REDUCTIONS, 0.0)
    for metric in JUDGES:
        calls = {name: plan(x, y, metric, kind(**cut.__dict__)) for name, kind in REDUCTIONS.items()}
        for name, timing in _clock(x).cold(calls).items():
            total[name] += timing.median_ms
            _write(log, {"n": len(x), "metric": metric, "reduction": name, "latency_ms": timing.median_ms})
    return next(name for name in REDUCTIONS if total[name] <= TIE * min(total.values()))


def _clock(x: torch.Tensor) -> Clock:
    return Clock(x.device, 15, 1, 0.2, 2 * x.nbytes)


def _merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring rows that choose the same reduction as one."""
    return [
        row
        for i, row in enumerate(rows)
        if i + 1 == len(rows) or rows[i + 1]["reduction"] != row["reduction"]
    ]


def _write(log: Path | None, row: dict[str, Any]) -> None:
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
