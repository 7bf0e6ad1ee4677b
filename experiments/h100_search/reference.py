"""Measures the reference table on a GPU: `python experiments/h100_search/reference.py DIRECTORY [WORD…]`.

Each shape is measured as `run.py workload=search` measures it, the peers in turn, into a record below DIRECTORY; all in
one process, which spares most of the seconds that a run takes to start. What matters most comes first, what takes most
time and memory last. Words: `seconds=N` begins no further shape after N seconds, `part=I/N` takes every Nth shape from
the Ith on, `peers=a,b` names the peers, `tiny` tries the script on a CPU. `once` calls each peer only once: several
processes side by side fill the caches of compiled kernels so. `reference_table.py` makes the table and the picture.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from mlsys import environment, record
from mlsys.distance.search.benchmark import SearchBenchmark
from mlsys.errors import one_line
from mlsys.record import Record

Shape = tuple[str, int, str, int, int]
NAMES = ("rows", "dim", "storage", "queries", "k")
PEERS = "torch_matmul_topk,torch_matmul,flashlib,jax,cuvs,faiss"
SHAPES: tuple[Shape, ...] = (
    ("1e6", 384, "float16", 256, 10),  # of which the next ones change one size each
    ("1e6", 384, "float16", 1, 10), ("1e6", 384, "float16", 16, 10), ("1e6", 384, "float32", 256, 10),
    ("1e6", 384, "float16", 256, 100), ("1e6", 384, "float16", 256, 1000), ("1e5", 384, "float16", 256, 10),
    ("1e4", 384, "float16", 256, 10), ("1e6", 384, "bfloat16", 256, 10), ("1e6", 128, "float16", 256, 10),
    ("1e6", 1536, "float16", 256, 10), ("1e5", 384, "float16", 1, 10), ("1e6", 384, "float16", 4096, 10),
    ("1e6", 384, "float32", 1, 10), ("1e7", 128, "float16", 1, 10), ("1e5", 1536, "float16", 16, 1000),
    ("1e4", 1536, "float32", 16, 10), ("1e6", 32, "float16", 256, 10), ("1e6", 384, "float16", 256, 1),
    ("1e5", 768, "bfloat16", 4096, 100), ("1e6", 768, "bfloat16", 1, 10), ("1e7", 32, "float32", 16, 100),
    ("1e6", 128, "float32", 4096, 1), ("1e7", 384, "float16", 256, 10),
)  # fmt: skip
FLASHLIB_MOST_K = 32  # above, it was not measured: its first call took 11 s at k = 100
SIDE_BY_SIDE = 1e9  # scores, of which several processes hold as many at once


def measure(
    shape: Shape, directory: Path, peers: list[str], once: bool, tiny: bool, machine: dict[str, Any]
) -> None:
    asked: dict[str, Any] = dict(zip(NAMES, shape, strict=True))
    asked["rows"] = max(float(shape[0]) / 1e3, 1100) if tiny else float(shape[0])
    timing = {"repeats": 1 if once else 15, "warmup": 1 if once else 3, "time_limit_s": 0.3, "seed": 0}
    peers = [peer for peer in peers if peer != "flashlib" or shape[4] <= FLASHLIB_MOST_K]
    config = {"metric": {"name": "l2"}, "search": {**asked, "peers": peers}, **timing}
    entry = Record(
        "search", ["reference.py", *sys.argv[1:]], config, record.digest(config), machine, record.now()
    )
    device = torch.device("cpu" if tiny else "cuda", None if tiny else 0)
    try:
        for part in SearchBenchmark("l2", **asked, device=device, peers=peers, **timing).measure():
            entry.add(part)
        entry.environment = {**machine, "after": environment.moment()}
        entry.end()
    except RuntimeError as error:
        entry.end(one_line(error))
    entry.write(directory / "-".join(map(str, shape)))
    if not tiny:
        torch.cuda.empty_cache()  # which other libraries cannot take from torch


def main(directory: str, words: list[str]) -> None:
    given = dict(word.partition("=")[::2] for word in words)
    first, step = map(int, given.get("part", "0/1").split("/"))
    machine, start = environment.describe(), time.monotonic()
    peers = given.get("peers", PEERS).split(",")
    shapes = [shape for shape in SHAPES if "once" not in given or float(shape[0]) * shape[3] < SIDE_BY_SIDE]
    for shape in shapes[first::step]:
        if time.monotonic() - start > float(given.get("seconds", "inf")):
            print("no time for", *shape)
            continue
        measure(shape, Path(directory), peers, "once" in given, "tiny" in given, machine)
        print(*shape, f"after {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
