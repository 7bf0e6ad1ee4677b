"""How long the first searches of new kinds take in one process, checked against float64: `first.py OUT.json` on a GPU.

With an empty folder as `TRITON_CACHE_DIR` everything is compiled, with that of an earlier run loaded from disk. Each
kind comes after those before it and shares what they have compiled. Four searches: the second captures a CUDA graph.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from mlsys.distance.search import Index
from mlsys.distance.search.reference import reference

ROWS = 100_000
Kind = tuple[str, int, int, int, str, str]  # what is new, dim, queries, k, dtype, metric
HALF, CLOSE = ("float16", "dot"), ("float32", "l2")
KINDS: list[Kind] = [
    ("first of all", 384, 1, 10, *HALF),
    ("k = 12", 384, 1, 12, *HALF),
    ("k = 9", 384, 1, 9, *HALF),
    ("k = 20", 384, 1, 20, *HALF),
    ("k = 5", 384, 1, 5, *HALF),
    ("k = 1", 384, 1, 1, *HALF),
    ("k = 100", 384, 1, 100, *HALF),
    ("dim 768", 768, 1, 10, *HALF),
    ("dim 1024", 1024, 1, 10, *HALF),
    ("dim 300", 300, 1, 10, *HALF),
    ("dim 100", 100, 1, 10, *HALF),
    ("64 queries", 384, 64, 10, *HALF),
    ("64 queries, k = 20", 384, 64, 20, *HALF),
    ("64 queries, k = 100", 384, 64, 100, *HALF),
    ("64 queries, dim 768", 768, 64, 10, *HALF),
    ("256 queries", 384, 256, 10, *HALF),
    ("256 queries, dim 768", 768, 256, 10, *HALF),
    ("256 queries, k = 1000", 384, 256, 1000, *HALF),
    ("float32 l2", 384, 1, 10, *CLOSE),
    ("float32 l2, dim 768", 768, 1, 10, *CLOSE),
    ("bfloat16 cosine", 384, 1, 10, "bfloat16", "cosine"),
    ("bfloat16 cosine, dim 1536", 1536, 1, 10, "bfloat16", "cosine"),
    ("l1, 16 queries", 384, 16, 10, "float32", "l1"),
]


def measured(kind: Kind) -> dict[str, object]:
    """The milliseconds of four searches one after the other, and whether they found what float64 finds."""
    what, dim, count, k, dtype, metric = kind
    made = torch.Generator("cuda").manual_seed(1)
    rows, queries = (
        torch.randn(size, dim, generator=made, device="cuda").to(getattr(torch, dtype))
        for size in (ROWS, count)
    )
    index, times_ms = Index(rows, metric, method="kernels"), []
    torch.cuda.synchronize()
    for _ in range(4):
        start = time.perf_counter()
        found = index.search(queries, k)[1]
        torch.cuda.synchronize()
        times_ms.append(round((time.perf_counter() - start) * 1e3, 2))
    equal = bool((found.cpu().numpy() == reference(queries, rows, k, metric)[1]).all())
    return {"what": what, "times_ms": times_ms, "equal": equal, "doubtful": index.doubtful}


def main() -> None:
    found = []
    for kind in KINDS:
        found.append(measured(kind))
        print(*found[-1].values(), flush=True)
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
