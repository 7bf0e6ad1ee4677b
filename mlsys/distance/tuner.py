"""Measuring a GPU's tuning table: which cut of the vectors is the fastest at each size, and which reduction.

Cold caches, medians of interleaved rounds (`mlsys.timing`). Metrics of one sum take the cut that serves l2 best,
metrics of three sums the one that serves cosine best; elements of two bytes that of bfloat16, all others that of
float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mlsys import progress
from mlsys.distance import plan, tuning_table
from mlsys.distance.language import triton
from mlsys.distance.reductions.atomic import Atomic
from mlsys.distance.reductions.hierarchical import Hierarchical
from mlsys.distance.reductions.single_pass import SinglePass
from mlsys.distance.tuning_model import Settings
from mlsys.errors import UserError
from mlsys.record import Results, Scalar
from mlsys.timing import Clock

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)  # elements
JUDGES = {1: "l2", 3: "cosine"}  # by the number of sums
DTYPES = (torch.bfloat16, torch.float32)  # the last stands for all others
KINDS = [(dtype, sums) for dtype in DTYPES for sums in JUDGES]
FEWEST, MOST = 1, 65536  # programs: candidates outside are left out, but for the one nearest
REDUCTIONS = {"single_pass": SinglePass, "hierarchical": Hierarchical, "atomic": Atomic}
FOR_AUTO = ("single_pass", "hierarchical")  # those that give the same bits each time
Cuts = dict[tuple[torch.dtype, int], Settings]  # by element type and number of sums
Winners = tuple[int, Cuts, str]  # a size, its cuts, its fastest reduction
TIE = 1.003  # the reduction that needs one launch wins when it is this near to the fastest


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


@dataclass
class Tuning:
    """The workload `tune`: measures `device` and writes `tuning.json` (and every time, `tune.jsonl`) into
    `directory`.

    Its results say for each size which cut and which reduction won. `MLSYS_TUNING=DIRECTORY/tuning.json` uses
    the table.
    """

    device: torch.device
    directory: Path
    kind: str = "tune"

    def measure(self) -> Iterator[Results]:
        """Measure size after size. Raises UserError without a GPU."""
        device = self.device
        if device.type != "cuda":
            raise UserError(
                f"device={device.type}: tuning measures a GPU; reduction=blocked has nothing to tune"
            )
        name = torch.cuda.get_device_name(device)
        source = f"measured on {name}, torch {torch.__version__}, triton {triton.__version__}"
        rows: list[Winners] = []
        sizes = [n for n in SIZES if 10 * n < torch.cuda.mem_get_info(device)[0]]
        yield Results(
            {"device": device.type, "device_name": name, "architecture": tuning_table.architecture(device)}
        )
        for n in sizes:
            with progress.step(f"tuning {name} for {n:.0e} elements"):
                rows.append((n, *self._size(n)))
            yield Results(_knobs(f"tuning.{n:.0e}", *rows[-1][1:]))
        made = {"architecture": tuning_table.architecture(device), **table(source, rows)}
        text = json.dumps({name: made}, indent=1)
        (self.directory / "tuning.json").write_text(text + "\n")
        progress.say(f"to use this table: export {tuning_table.VARIABLE}={self.directory / 'tuning.json'}")

    def _size(self, n: int) -> tuple[Cuts, str]:
        log = self.directory / "tune.jsonl"
        cuts: Cuts = {}
        for dtype in DTYPES:
            x, y = (torch.randn(n, device=self.device).to(dtype) for _ in range(2))
            cuts |= {(dtype, sums): _best(x, y, metric, log) for sums, metric in JUDGES.items()}
        return cuts, _fastest(x, y, cuts, log)


def table(source: str, rows: list[Winners]) -> dict[str, Any]:
    """A card's table as tuning.json holds it, from the winners at each size; between sizes the nearer counts."""
    limits = [round(math.sqrt(n * after)) for (n, *_), (after, *_) in pairwise(rows)] + [None]
    settings = [
        {
            "sums": sums,
            **_small(dtype),
            "up_to_bytes": limit and dtype.itemsize * limit,
            **vars(cuts[dtype, sums]),
        }
        for dtype, sums in KINDS
        for limit, (_, cuts, _) in zip(limits, rows, strict=True)
    ]
    auto = [{"up_to_n": limit, "reduction": name} for limit, (_, _, name) in zip(limits, rows, strict=True)]
    merged = [
        row
        for row, after in zip(auto, [*auto[1:], {}], strict=True)
        if row["reduction"] != after.get("reduction")
    ]
    return {"source": source, "settings": settings, "auto": merged}


def _small(dtype: torch.dtype) -> dict[str, int]:
    return {} if dtype == DTYPES[-1] else {"itemsize": dtype.itemsize}


def _knobs(name: str, cuts: Cuts, reduction: str) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {f"{name}.reduction": reduction}
    for (dtype, sums), cut in cuts.items():
        own = f"{name}.{str(dtype).removeprefix('torch.')}.{JUDGES[sums]}"
        found |= {f"{own}.{knob}": value for knob, value in vars(cut).items()}
    return found


def _best(x: torch.Tensor, y: torch.Tensor, metric: str, log: Path) -> Settings:
    """The fastest cut for the metric."""
    tried = list(candidates(x.nbytes))
    calls = {str(i): plan(x, y, metric, SinglePass(**vars(cut))) for i, cut in enumerate(tried)}
    times = {tried[int(i)]: timing.median_ms for i, timing in _clock(x).cold(calls).items()}
    for cut, time_ms in times.items():
        _write(log, x, metric, {"latency_ms": time_ms, **vars(cut)})
    return min(tried, key=times.__getitem__)


def _fastest(x: torch.Tensor, y: torch.Tensor, cuts: Cuts, log: Path) -> str:
    """The deterministic reduction that is the fastest over the judges; `atomic` is measured for comparison."""
    total = dict.fromkeys(REDUCTIONS, 0.0)
    for sums, metric in JUDGES.items():
        own = vars(cuts[x.dtype, sums])
        calls = {name: plan(x, y, metric, kind(**own)) for name, kind in REDUCTIONS.items()}
        for name, timing in _clock(x).cold(calls).items():
            total[name] += timing.median_ms
            _write(log, x, metric, {"reduction": name, "latency_ms": timing.median_ms})
    best = min(total[name] for name in FOR_AUTO)
    return next(name for name in FOR_AUTO if total[name] <= TIE * best)


def _clock(x: torch.Tensor) -> Clock:
    return Clock(x.device, 15, 1, 0.2, 2 * x.nbytes)


def _write(log: Path, x: torch.Tensor, metric: str, row: dict[str, Any]) -> None:
    about = {"n": len(x), "dtype": str(x.dtype).removeprefix("torch."), "metric": metric}
    with log.open("a") as file:
        file.write(json.dumps(about | row) + "\n")
