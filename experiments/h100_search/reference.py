"""Measures the reference table on a GPU: `python experiments/h100_search/reference.py DIRECTORY [SECONDS] [tiny]`.

Each shape is one run of run.py with a record below DIRECTORY, all in one process, the peers in turn. After SECONDS no
further shape begins: what matters most comes first, what takes most memory last. `tiny` tries the script on a CPU.
`reference_table.py` makes the table and the picture from the records.
"""

from __future__ import annotations

import sys
import time

import torch

from mlsys.run import app

Shape = tuple[str, int, str, int, int]  # N, D, dtype, Q, k
PEERS = "torch_matmul_topk,torch_matmul,flashlib,jax,cuvs,faiss"
BASE: Shape = ("1e6", 384, "float16", 256, 10)
FIELDS = ("rows", "dim", "storage", "queries", "k")


def shapes() -> list[Shape]:
    """The base with one size changed at a time, then corners. The largest last: they leave little memory to others."""
    varied: dict[str, tuple[object, ...]] = {
        "queries": (256, 1, 16, 4096),
        "k": (1, 100, 1000),
        "storage": ("bfloat16", "float32"),
        "dim": (32, 128, 1536),
        "rows": ("1e4", "1e5"),
    }
    found = [
        (*BASE[: FIELDS.index(name)], value, *BASE[FIELDS.index(name) + 1 :])
        for name, values in varied.items()
        for value in values
    ]
    found += [
        ("1e5", 384, "float16", 1, 10), ("1e6", 768, "bfloat16", 1, 10), ("1e6", 384, "float32", 1, 10),
        ("1e5", 768, "bfloat16", 4096, 100), ("1e4", 1536, "float32", 16, 10), ("1e5", 1536, "float16", 16, 1000),
        ("1e6", 128, "float32", 4096, 1), ("1e7", 32, "float32", 16, 100), ("1e7", 128, "float16", 1, 10),
        ("1e7", 384, "float16", 256, 10),
    ]  # fmt: skip
    return found  # type: ignore[return-value]


def measure(shape: Shape, directory: str, tiny: bool) -> None:
    rows, dim, storage, queries, k = shape
    name = f"{rows}-{dim}-{storage}-{queries}-{k}"
    size = f"{max(float(rows) / 1e3, 1100):g}" if tiny else rows
    sys.argv[1:] = [
        "workload=search", "metric=l2", f"device={'cpu' if tiny else 'cuda'}", f"search.rows={size}",
        f"search.dim={dim}", f"search.storage={storage}", f"search.queries={queries}", f"search.k={k}",
        f"search.peers=[{PEERS}]", "repeats=15", "time_limit_s=0.3", "tracking=off",
        f"hydra.run.dir={directory}/{name}",
    ]  # fmt: skip
    app.start()
    if not tiny:
        torch.cuda.empty_cache()  # which other libraries cannot take from torch


def main(directory: str, seconds: float, tiny: bool) -> None:
    start = time.monotonic()
    for shape in shapes():
        if time.monotonic() - start > seconds:
            print("no time for", *shape)
            continue
        measure(shape, directory, tiny)
        print(*shape, f"after {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    given = [word for word in sys.argv[2:] if word != "tiny"]
    main(sys.argv[1], float(given[0]) if given else float("inf"), "tiny" in sys.argv)
