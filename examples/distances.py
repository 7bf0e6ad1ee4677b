"""Distances from Python: one call, a plan that is called often, and files that are larger than memory allows."""

import tempfile
import time
from pathlib import Path

import numpy as np

from mlsys.distance import distance, plan, stream
from mlsys.distance.source import TensorSource

random = np.random.default_rng(0)
x, y = random.standard_normal((2, 1_000_000), dtype=np.float32)

# One call. Arrays, torch tensors on any device, lists and Series are taken as they are.
for metric in ("l2", "sqeuclidean", "l1", "cosine", "dot"):
    print(f"{metric:<12} {distance(x, y, metric):.6g}")

# A plan checks once and can be called often: it computes what the buffers hold then.
cosine = plan(x, y, "cosine")
cosine()
start = time.perf_counter()
value = float(cosine())
print(
    f"plan         {value:.6g} by reduction={cosine.reduction} in {1e3 * (time.perf_counter() - start):.2f} ms"
)

# A stream reads files piece by piece and holds 8 MiB of them, whatever their size. The bits are those of one call.
with tempfile.TemporaryDirectory() as directory:
    for name, vector in (("x", x), ("y", y)):
        np.save(Path(directory) / f"{name}.npy", vector)
    mapped = [TensorSource(np.load(Path(directory) / f"{name}.npy", mmap_mode="r")) for name in "xy"]
    streamed = stream(*mapped, "cosine", memory_budget=8 << 20)
    assert float(streamed()) == value
    print(f"stream       {float(streamed()):.6g} in pieces of {streamed.chunk_n:,} elements")
