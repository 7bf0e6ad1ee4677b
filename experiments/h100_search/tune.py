"""Times the cuts of the search kernels at the target shapes: `tune.py compile`, then `tune.py OUT.json`.

The first compiles everything in processes side by side. The second times whole searches beside matmul + topk, their
phases, and the scoring kernels alone, with device events, and writes OUT.json after each part. `l1` after either
takes the l1 kernels alone.
"""

# ruff: noqa: B023  (every closure is timed before its loop goes on)

from __future__ import annotations

import itertools
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels.choosing import choose
from mlsys.distance.search.kernels.found import Scored
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.kernels.tiles import Tile, groups_taken

ROWS, DIM, K = 1_000_000, 384, 10
LARGE = [
    (128, 256, 64, 8, 8, 3), (128, 256, 64, 8, 8, 4), (128, 128, 64, 8, 4, 3), (128, 128, 64, 8, 4, 4),
    (128, 128, 64, 4, 4, 3), (256, 128, 64, 8, 8, 3), (128, 256, 128, 8, 8, 2), (64, 256, 64, 8, 4, 4),
    (128, 128, 128, 8, 4, 2), (128, 128, 64, 8, 8, 4),
]  # fmt: skip
MIDDLE = [
    (64, 128, 64, 8, 4, 4),
    (64, 256, 64, 8, 4, 4),
    (64, 128, 128, 8, 4, 3),
    (64, 128, 64, 4, 4, 6),
    (64, 64, 128, 4, 4, 4),
]
LITTLE = [(16, 128, 64, 8, 4, 4), (16, 128, 128, 8, 4, 3), (16, 256, 64, 8, 4, 4), (16, 64, 128, 4, 4, 4)]
VECTOR = [
    (1, n, b, c, w, 1) for n, b, w in itertools.product((16, 32, 64, 128), (128, 512), (4, 8)) for c in (1,)
]
CITY = [(m, 128, u, c, w, 1) for u in (4, 8, 16) for m, c, w in (
    (128, 4, 16), (128, 8, 8), (64, 4, 8), (64, 8, 8), (64, 4, 16), (32, 4, 8), (32, 4, 4), (16, 4, 8), (16, 4, 4)
)]  # fmt: skip
WIDE = [
    (128, 128, 32, 8, 8, 3),
    (128, 256, 32, 8, 8, 3),
    (128, 128, 32, 8, 4, 3),
    (64, 128, 32, 8, 4, 4),
    (64, 256, 32, 8, 4, 3),
]


def ways(cuts: list[tuple[int, ...]], programs: tuple[int, ...] = (0,)) -> list[Tile]:
    return [Tile(*cut, tma=t, programs=p) for cut in cuts for t in (False, True) for p in programs]


def plan() -> list[tuple[str, str, int, Tile]]:
    """(dtype, metric, queries, cut) of every kernel that is timed."""
    if "l1" in sys.argv:
        return [("float32", "l1", q, Tile(*cut)) for q in (16, 64, 256) for cut in CITY]
    jobs = [("float16", "dot", q, t) for q in (256, 4096) for t in ways(LARGE, (0, 1))]
    jobs += [("float16", "dot", 4096, Tile(*LARGE[i], tma=True, programs=2)) for i in (2, 3, 4)]
    jobs += [("float16", "dot", 64, t) for t in ways(MIDDLE, (0, 2))]
    jobs += [("float16", "dot", q, t) for q in (1, 16) for t in ways(LITTLE, (0, 2))]
    jobs += [("float16", "dot", 1, Tile(*cut)) for cut in VECTOR]
    jobs += [("float32", "l1", q, Tile(*cut)) for q in (16, 64, 256) for cut in CITY]
    jobs += [("float32", "dot", 256, t) for t in ways(WIDE)]
    return jobs


def search(dtype: str, metric: str, rows: torch.Tensor) -> KernelSearch:
    return KernelSearch(rows, metric, scorer_of(rows, metric))


def data(count: int, dtype: str) -> torch.Tensor:
    return torch.randn(count, DIM, device="cuda").to(getattr(torch, dtype))


def compile_some(jobs: list[tuple[str, str, int, Tile]]) -> None:
    searches: dict[tuple[str, str], KernelSearch] = {}
    for dtype, metric, queries, tile in jobs:
        if (dtype, metric) not in searches:
            searches.clear()
            searches[dtype, metric] = search(dtype, metric, data(ROWS, dtype))
        try:
            searches[dtype, metric].scoring.launch(data(queries, dtype), tile)
            torch.cuda.synchronize()
        except Exception as error:  # a cut that does not fit is left out
            print("no", queries, tile, repr(error)[:160], flush=True)


def median_ms(function: Callable[[], object], calls: int, rounds: int = 3) -> float:
    function()
    times = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(1_000_000)
        start.record()
        for _ in range(calls):
            function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / calls)
    return statistics.median(times)


def time_kernels(found: list[dict[str, object]]) -> None:
    jobs = sorted(plan(), key=lambda job: (job[0], job[1], job[2]))
    for (dtype, metric), group in itertools.groupby(jobs, key=lambda job: job[:2]):
        kernels = search(dtype, metric, data(ROWS, dtype))
        for queries, some in itertools.groupby(group, key=lambda job: job[2]):
            x, lines = data(queries, dtype), []
            for *_, tile in some:
                try:
                    ms = median_ms(lambda: kernels.scoring.launch(x, tile), 3 if queries > 64 else 10)
                except Exception:
                    continue
                lines.append({"kernel": metric, "dtype": dtype, "queries": queries, **asdict(tile), "ms": ms})
            found += lines
            for line in sorted(lines, key=lambda line: line["ms"])[:8]:
                print(
                    " ".join(str(v) if not isinstance(v, float) else f"{v:.3f}" for v in line.values()),
                    flush=True,
                )


def time_phases(found: list[dict[str, object]]) -> None:
    rows = data(ROWS, "float16")
    kernels = search("float16", "dot", rows)
    m = groups_taken(K, torch.float16, "dot", DIM)
    for queries in (1, 64, 256, 4096):
        x = data(queries, "float16")
        tile = kernels.scoring.tile(queries)
        maxima = kernels.scoring.launch(x, tile)
        chosen, cut = choose(maxima, m)
        keys = kernels.group_keys(x, chosen, tile)
        scored, status = (
            Scored(x, x, maxima, tile, kernels.scoring.limits),
            torch.empty(queries, dtype=torch.int32, pin_memory=True),
        )
        phases = {
            "maxima": lambda: kernels.scoring.launch(x, tile),
            "best_groups": lambda: choose(maxima, m),
            "group_keys": lambda: kernels.group_keys(x, chosen, tile),
            "nearest_rows": lambda: kernels.nearest_rows(scored, chosen, cut, keys, K, status),
            "torch.topk of maxima": lambda: maxima.topk(m, dim=1),
        }
        for name, phase in phases.items():
            found.append({"phase": name, "queries": queries, "ms": median_ms(phase, 5)})
            print("phase", queries, name, f"{found[-1]['ms']:.4f}", flush=True)


def time_searches(found: list[dict[str, object]]) -> None:
    for dtype, metric, many in (
        ("float16", "dot", (1, 16, 64, 256, 1024, 4096)),
        ("float32", "l1", (1, 16, 256)),
        ("float32", "dot", (1, 64, 256)),
    ):
        rows = data(ROWS, dtype)
        index = Index(rows, metric)
        for queries in many:
            x = data(queries, dtype)
            peers: dict[str, Callable[[], object]] = {"search": lambda: index.nearest(x, K)}
            if metric == "dot":
                peers["matmul + topk"] = lambda: torch.matmul(x, rows.T).topk(K, dim=1)
                peers["matmul"] = lambda: torch.matmul(x, rows.T)
            else:
                peers["cdist"] = lambda: torch.cdist(x, rows, p=1)
            times: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(5):
                for name, peer in peers.items():
                    times[name].append(median_ms(peer, 1, 1))
            found.append(
                {
                    "dtype": dtype,
                    "metric": metric,
                    "queries": queries,
                    **{n: statistics.median(t) for n, t in times.items()},
                }
            )
            print(
                "search",
                " ".join(str(v) if not isinstance(v, float) else f"{v:.3f}" for v in found[-1].values()),
                flush=True,
            )


def compile_all(workers: int = 12) -> None:
    jobs = plan()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=compile_some, args=(jobs[i::workers],)) for i in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"compiled {len(jobs)}", flush=True)


def main() -> None:
    if sys.argv[1] == "compile":
        return compile_all()
    start, found = time.monotonic(), []
    for part in (time_kernels,) if "l1" in sys.argv else (time_searches, time_phases, time_kernels):
        part(found)
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1))
        print(f"{part.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    return None


if __name__ == "__main__":
    main()
