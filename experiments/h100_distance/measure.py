"""Measure the pair distances in one process: `python experiments/h100_distance/measure.py OUT [PARTS]`.

Every ratio compares functions timed in turn in the same rounds (`mlsys.timing`). Needs a GPU with 32 GB or more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mlsys.distance import distance, plan, reference, stream
from mlsys.distance.baseline import get
from mlsys.distance.copy_pipeline import one_thread_left_out
from mlsys.distance.metrics import get as metric_named
from mlsys.distance.source import TensorSource
from mlsys.timing import Clock, copy_bandwidth_gbps

METRICS = ("l2", "l1", "cosine", "dot")
REDUCTIONS = ("atomic", "hierarchical", "single_pass")
DEVICE = torch.device("cuda")
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


def say(**row: Any) -> None:
    with (OUT / "measure.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(
        " ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True
    )


def clock(data_bytes: int, repeats: int = 20) -> Clock:
    return Clock(DEVICE, repeats, 2, 1.0, data_bytes)


def vectors(n: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    if dtype == torch.int8:
        x, y = (torch.randint(-127, 128, (n,), dtype=dtype, device=DEVICE) for _ in range(2))
    else:
        x, y = (torch.randn(n, device=DEVICE).to(dtype) for _ in range(2))
    return x, y


def large(n: int, dtype: torch.dtype, metrics: tuple[str, ...], copy: float) -> None:
    """Bandwidth of every metric and reduction."""
    x, y = vectors(n, dtype)
    host = TensorSource(x.cpu()), TensorSource(y.cpu())
    calls: dict[str, Any] = {f"{m}.{r}": plan(x, y, m, r) for m in metrics for r in REDUCTIONS}
    if dtype != torch.int8:
        calls["torch_dot"] = get("torch_dot").prepare(x, y, metric_named("dot")).call
    times = clock(2 * x.nbytes).cold(calls)
    truth = {metric: reference(*host, metric) for metric in metrics}
    for name, timing in times.items():
        gbps = 2 * x.nbytes / timing.median_ms / 1e6
        metric = name.split(".")[0]
        fact = {"error": truth[metric].relative_error(float(calls[name]()))} if metric in truth else {}
        say(part="large", n=n, dtype=str(dtype), name=name, ms=timing.median_ms, gbps=gbps, of_nominal=gbps / 3350,
            of_copy=gbps / copy, **fact)  # fmt: skip


def peers(n: int, names: tuple[str, ...]) -> None:
    """Ours (reduction=auto) beside torch."""
    x, y = vectors(n, torch.float32)
    for metric in METRICS:
        calls: dict[str, Callable[[], object]] = {"ours": plan(x, y, metric)}
        for name in names:
            try:
                calls[name] = get(name).prepare(x, y, metric_named(metric)).call
                calls[name]()
            except Exception as error:
                say(part="peers", n=n, metric=metric, name=name, error=str(error).splitlines()[0])
                calls.pop(name, None)
        times = {name: timing.median_ms for name, timing in clock(2 * x.nbytes).cold(calls).items()}
        for name, ms in times.items():
            say(part="peers", n=n, metric=metric, name=name, ms=ms, speedup=ms / times["ours"])


def small(n: int) -> None:
    """Kernel and wall time beside torch.dot, with and without a graph."""
    x, y = vectors(n, torch.float32)
    for metric in METRICS:
        calls: dict[str, Callable[[], object]] = {"torch_dot": lambda: torch.dot(x, y)}
        calls |= {reduction: plan(x, y, metric, reduction) for reduction in REDUCTIONS}
        calls["graph"] = plan(x, y, metric, graph=True)
        calls["distance()"] = lambda metric=metric: distance(x, y, metric)  # type: ignore[misc]
        for way in ("cold", "hot", "wall"):
            times = {k: t.median_ms * 1e3 for k, t in getattr(clock(2 * x.nbytes, 200), way)(calls).items()}
            say(part="small", n=n, metric=metric, way=way, **{f"{k}_us": v for k, v in times.items()})


def streaming(n: int) -> None:
    """Pageable host vectors: ours, the plain way, and the best host-to-device rate of this machine."""
    x, y = (torch.randn(n, device=DEVICE).cpu() for _ in range(2))
    pinned = torch.randn(2**28).pin_memory()
    target = torch.empty_like(pinned, device=DEVICE)
    ways: dict[str, Callable[[], object]] = {"pinned_copy": lambda: target.copy_(pinned, non_blocking=True)}
    for mib in (64, 128, 1024):
        ways[f"stream_{mib}MiB"] = stream(TensorSource(x), TensorSource(y), "l2", "auto", DEVICE, mib << 20)
    ways["plain"] = lambda: torch.dist(x.cuda(), y.cuda())
    times = {k: t.median_ms for k, t in Clock(DEVICE, 3, 1, 60, 8 * n).wall(ways).items()}
    for name, ms in times.items():
        size = pinned.nbytes if name == "pinned_copy" else 8 * n
        say(part="stream", n=n, name=name, ms=ms, gbps=size / ms / 1e6)


def slots(n: int) -> None:
    """Bytes of a piece and how many threads copy; beside it, how fast these threads fill the slots and do no more."""
    x, y = (torch.randn(n, device=DEVICE).cpu() for _ in range(2))
    settings = vars(sys.modules["mlsys.distance.streaming"])
    kept, threads = settings["CHUNK_BYTES"], torch.get_num_threads()
    for mib, count in [(mib, threads) for mib in (4, 8, 16, 32)] + [(16, threads - 1), (16, threads + 1)]:
        settings["CHUNK_BYTES"] = {"cuda": mib << 20}
        torch.set_num_threads(count)
        call = stream(TensorSource(x), TensorSource(y), "l2", "auto", DEVICE, 1 << 30)
        call()

        def fill(call: Any = call) -> None:
            with one_thread_left_out():
                for i, start in enumerate(range(0, n, call.chunk_n)):
                    call._fill(call._slots[i % len(call._slots)], (start, min(start + call.chunk_n, n)))

        times = Clock(DEVICE, 5, 1, 60, 8 * n).wall({"stream": call, "fill": fill})
        rates = {f"{name}_gbps": 8 * n / timing.median_ms / 1e6 for name, timing in times.items()}
        say(part="slots", n=n, threads=count - 1, chunk_mib=mib, **rates)
    settings["CHUNK_BYTES"] = kept
    torch.set_num_threads(threads)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    parts = sys.argv[2].split(",") if len(sys.argv) > 2 else ["small", "large", "peers", "stream"]
    say(part="machine", name=torch.cuda.get_device_name(), torch=torch.__version__)
    copy = copy_bandwidth_gbps(DEVICE)
    say(part="copy", gbps=copy)
    if "small" in parts:
        for n in (10**3, 10**5, 10**6):
            small(n)
    if "large" in parts:
        for n, dtype in ((10**9, torch.float32), (10**9, torch.bfloat16), (10**8, torch.float32)):
            large(n, dtype, METRICS, copy)
    if "dtypes" in parts:
        for dtype in (torch.float64, torch.float16, torch.int8):
            large(10**9 // 2, dtype, METRICS, copy)
    if "peers" in parts:
        peers(10**8, ("torch", "torch_native", "torch_compile", "cupy"))
    if "stream" in parts:
        streaming(10**9)
    if "slots" in parts:
        slots(5 * 10**8)


if __name__ == "__main__":
    main()
