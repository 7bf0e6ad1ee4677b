"""What one call costs: `distance` beside numpy's expression, torch's best call and `np.dot`, timed in turn, hot caches.

    OPENBLAS_NUM_THREADS=1 taskset -c 0 python experiments/seed_distance/calls.py

One thread each, because at these sizes threads cost more than they save; medians, in microseconds. The ratios are
numpy's expression over ours for arrays, torch's best call over ours for tensors, and `np.dot` over ours for arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from mlsys.distance import distance
from mlsys.distance.baseline import get as baseline
from mlsys.distance.metrics import get as metric_named

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)


def medians(calls: dict[str, Callable[[], object]], rounds: int = 40) -> dict[str, float]:
    """Microseconds a call: in each round every function is called for about 50 µs."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            count = max(1, int(50e-6 / (time.perf_counter() - start)))
            start = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Print a line for each metric, dtype and size."""
    torch.set_num_threads(1)
    print(
        f"{'':22}{'arrays':>9}{'tensors':>9}{'numpy':>9}{'torch':>9}{'np.dot':>9} | numpy/ours torch/ours np.dot/ours"
    )
    for dtype in (np.float32, np.float64):
        for name in ("l2", "l1", "cosine", "dot"):
            for n in SIZES:
                line(name, dtype, n)


def line(name: str, dtype: type, n: int) -> None:
    """Measure one line."""
    x, y = np.random.default_rng(0).standard_normal((2, n)).astype(dtype)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    found = medians(
        {
            "arrays": lambda: distance(x, y, name),
            "tensors": lambda: distance(a, b, name),
            "numpy": baseline("numpy").prepare(a, b, metric_named(name)).call,
            "torch": baseline("torch_native").prepare(a, b, metric_named(name)).call,
            "np.dot": lambda: np.dot(x, y),
        }
    )
    ratios = (
        found["numpy"] / found["arrays"],
        found["torch"] / found["tensors"],
        found["np.dot"] / found["arrays"],
    )
    times = "".join(f"{value:9.2f}" for value in found.values())
    print(
        f"{name:7}{np.dtype(dtype).name}{n:8} {times} | {ratios[0]:10.2f} {ratios[1]:10.2f} {ratios[2]:11.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
