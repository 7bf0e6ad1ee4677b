"""Exact search beside matmul + topk over many shapes, as a caller waits: `shapes.py OUT.json [few]` on a GPU.

For each shape both are called in turn; medians of the wall time, after warm-up. Clustered rows are a hundred near
copies of each of N / 100 rows, normalised: they are what embeddings of real text look like to a search at worst.
`few` tries other limits between choosing one after the other and choosing at once, for tiles.py. `int8` searches by way
of an int8 screen, `part=I/N` every Nth shape from the Ith on, `once` searches each only once: it compiles.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from mlsys.distance.search import Index
from mlsys.distance.search.kernels import tiles
from mlsys.timing import Clock

Shape = tuple[int, int, int, int, str, str, str]  # N, D, Q, k, dtype, metric, rows
SCREEN = "int8" if "int8" in sys.argv else "none"


def shapes() -> Iterator[Shape]:
    """What is tried: each of the search's sizes at its edges, and the cases that were slow once."""
    for n, q, k in itertools.product((10_000, 100_000, 1_000_000), (1, 64, 256), (1, 10, 100, 1000)):
        yield n, 384, q, k, "float16", "dot", "normal"
    for q, k in ((1, 10), (64, 200), (8, 10), (1024, 10), (4096, 10)):
        yield 1_000_000, 384, q, k, "float16", "dot", "normal"
    for q, k in itertools.product((1, 64, 256), (10, 200)):
        yield 1_000_000, 128, q, k, "float32", "l2", "normal"
    for q, k in ((1, 10), (256, 10), (64, 100)):
        yield 1_000_000, 1536, q, k, "bfloat16", "cosine", "normal"
        yield 100_000, 32, q, k, "float16", "l2", "normal"
    yield 10_000, 384, 8, 10, "float16", "dot", "normal"
    yield 1_000_000, 1536, 256, 10, "bfloat16", "dot", "normal"
    for kind, (q, k) in itertools.product(
        ("normal", "clustered"), ((1, 10), (64, 10), (256, 10), (256, 100))
    ):
        yield 1_000_000, 384, q, k, "float16", "cosine", kind
        yield 1_000_000, 384, q, k, "float32", "l2", kind


def data(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and queries on the GPU."""
    n, dim, q, _, dtype, _, kind = shape
    made = torch.Generator("cuda").manual_seed(n + dim + q)
    rows = torch.randn(n if kind == "normal" else n // 100, dim, generator=made, device="cuda")
    if kind == "clustered":
        rows = rows.repeat(100, 1) + 0.02 * torch.randn(n, dim, generator=made, device="cuda")
        rows = torch.nn.functional.normalize(rows, dim=1)
    queries = torch.randn(q, dim, generator=made, device="cuda")
    if kind == "clustered":
        queries = torch.nn.functional.normalize(rows[:q].float() + 0.05 * queries / dim**0.5, dim=1)
    return rows.to(getattr(torch, dtype)), queries.to(getattr(torch, dtype))


def usual(rows: torch.Tensor, queries: torch.Tensor, k: int, metric: str) -> Callable[[], object]:
    """matmul + topk in the rows' own dtype, what can be computed of the rows beforehand left out."""
    if metric == "dot":
        return lambda: torch.matmul(queries, rows.T).topk(k)
    if metric == "cosine":
        unit = torch.nn.functional.normalize(rows, dim=1)
        return lambda: torch.matmul(queries, unit.T).topk(k)
    bias = (rows.float().square().sum(1) / -2).to(rows.dtype)
    return lambda: torch.addmm(bias, queries, rows.T).topk(k)


def measured(shape: Shape) -> dict[str, object]:
    """One shape's medians in ms, and how many lines were in doubt."""
    k, metric = shape[3], shape[5]
    rows, queries = data(shape)
    index = Index(rows, metric, screen=SCREEN)
    names = ("rows", "dim", "queries", "k", "dtype", "metric", "data")
    about = dict(zip(names, shape, strict=True)) | {"screen": SCREEN}
    for _ in range(1 if "once" in sys.argv else 3):
        index.search(queries, k)
    if "once" in sys.argv:
        return about
    clock = Clock(torch.device("cuda"), 30, 3, 0.3, rows.nbytes)
    calls = {"ours": lambda: index.search(queries, k), "usual": usual(rows, queries, k, metric)}
    times = clock.wall(calls)
    ours, theirs = times["ours"].median_ms, times["usual"].median_ms
    return about | {
        "ours_ms": round(ours, 4), "matmul_topk_ms": round(theirs, 4), "ratio": round(theirs / ours, 3),
        "doubtful": index.doubtful, "rescanned": index.rescanned,
    }  # fmt: skip


def chosen() -> list[Shape]:
    """The shapes of this call."""
    part = next((word.removeprefix("part=") for word in sys.argv if word.startswith("part=")), "0/1")
    first, step = map(int, part.split("/"))
    some = [shape for shape in shapes() if SCREEN == "none" or (shape[0] == 1_000_000 and shape[3] <= 128)]
    return some[first::step]


def main() -> None:
    found = []
    limits = (8, 32, 64) if "few" in sys.argv else (tiles.FEW,)
    for few, shape in itertools.product(limits, chosen()):
        if few != tiles.FEW and not 10 <= shape[3] <= 128:
            continue
        before, tiles.FEW = tiles.FEW, few
        try:
            line = measured(shape) | {"few": few}
        except (RuntimeError, ValueError) as error:
            line = {"shape": list(shape), "few": few, "error": str(error).splitlines()[0]}
        tiles.FEW = before
        found.append(line)
        print(*line.values(), flush=True)
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
