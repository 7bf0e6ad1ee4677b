"""Calls for a profiler to look at: pair distances of 1e8 and 1e9 elements, and searches of 1e6 rows.

    ncu --clock-control none --csv --metrics gpu__time_duration.sum,dram__bytes_read.sum,\
dram__throughput.avg.pct_of_peak_sustained_elapsed,sm__throughput.avg.pct_of_peak_sustained_elapsed,\
smsp__issue_active.avg.pct_of_peak_sustained_active,sm__warps_active.avg.pct_of_peak_sustained_active,\
smsp__inst_executed_pipe_fma.sum,smsp__inst_executed.sum python experiments/h100_distance/profile_kernels.py

Every distance is called twice; `ncu.csv` has the second.
"""

from __future__ import annotations

import torch

from mlsys.distance import plan
from mlsys.distance.search import Index

DEVICE = torch.device("cuda")


def distances(n: int, dtype: torch.dtype) -> None:
    """All metrics in one pass, l2 by the other reductions, and torch.dot."""
    x, y = (torch.randn(n, device=DEVICE).to(dtype) for _ in range(2))
    for metric, reduction in (
        *((metric, "single_pass") for metric in ("l2", "l1", "cosine", "dot")),
        ("l2", "atomic"),
        ("l2", "hierarchical"),
    ):
        call = plan(x, y, metric, reduction)
        for _ in range(2):
            call()
            torch.cuda.synchronize()
    torch.dot(x, y)


def searches() -> None:
    """float16 dot for one query and for 256, float32 l1 for 256."""
    rows = torch.randn(10**6, 384, device=DEVICE)
    for metric, data, count in (("dot", rows.half(), 1), ("dot", rows.half(), 256), ("l1", rows, 256)):
        Index(data, metric).search(torch.randn(count, 384, device=DEVICE).to(data.dtype), 10)


if __name__ == "__main__":
    distances(10**8, torch.float32)
    distances(10**9, torch.bfloat16)
    searches()
    torch.cuda.synchronize()
