"""Decoding by CUDA graphs, torch's kernels against the fused ones, in turn:

    python experiments/h100_serving/step.py [shape] [rows,rows,...] [context]

First a step of both is held against float32. Then a step that writes, reading prompts of `context` tokens, and whole
answers of 64 tokens are timed: medians in ms, of a step also the share of the memory's rate. Where a step's time goes
is written to $OUT or this folder, kernel by kernel.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlsys.rag.generator import weights
from mlsys.rag.generator.fused_model import parts
from mlsys.rag.generator.graphs import GraphDecoder, _fuse_norms
from mlsys.rag.generator.kv_cache import heads
from mlsys.rag.generator.shapes import SHAPES
from mlsys.rag.generator.static_step import Common, StaticStep
from mlsys.rag.generator.step_layout import Piece

TIMES, REPLAYS, NEW = 7, 40, 64
RATES = {"H100": 3.35e12, "H200": 4.8e12}  # bytes a second of the SXM cards, as published
OUT = Path(os.environ.get("OUT", Path(__file__).parent))


@torch.inference_mode(False)
def network(shape: str, dtype: torch.dtype, layers: int | None = None) -> Any:
    """With random weights, of so many layers instead of the shape's."""
    torch.manual_seed(0)
    sizes = SHAPES[shape] if layers is None else {**SHAPES[shape], "num_hidden_layers": layers}
    if (known := weights.config(sizes)) is None:
        raise SystemExit(f"{shape}: its steps are torch's")
    return weights.drawn(known, dtype, torch.device("cuda"))


def step(model: Any, rows: int, context: int, fused: bool, reads: int = 0) -> StaticStep:
    """A step that has run: slots that hold `context` tokens write; the last `reads` read a prompt instead."""
    kept = heads(model)
    torch.manual_seed(1)
    shape = (kept.layers, 2, rows, kept.heads, context + 64, kept.dim)
    cache = torch.randn(shape, dtype=torch.bfloat16, device="cuda").to(model.dtype)
    latest = torch.arange(7, 8 + rows, device="cuda")
    common = Common(model, cache, latest, parts(model, context + 64) if fused else None)
    made = StaticStep(common, rows, reads * context)
    latest.copy_(torch.arange(7, 8 + rows))
    writes = rows - reads
    pieces = [Piece(slot, 0, list(range(9, 9 + context)), True) for slot in range(writes, rows)]
    made.run(range(writes), [context - 1] * writes, pieces)
    torch.cuda.synchronize()
    return made


def check(model: Any, wide: Any, rows: int, context: int) -> None:
    """Errors of both against the same weights in float32, and how many tokens agree."""
    exact = step(wide, rows, context, False).logits.clone()
    for name, fused in (("torch", False), ("fused", True)):
        found = step(model, rows, context, fused)
        error = (found.logits.float() - exact).abs().max() / exact.abs().max()
        same = (found.logits.float().argmax(-1) == exact.argmax(-1)).float().mean()
        chosen = (found.found == found.logits.float().argmax(-1)).float().mean()
        print(f"  check {name}: off by {error:.4f}, tokens as float32 {same:.3f}, as its logits {chosen:.3f}")


def timed(work: Callable[[], object], replays: int = REPLAYS) -> float:
    """ms of one of `replays`."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    work()
    start.record()
    for _ in range(replays):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / replays


def in_turn(
    label: str, works: dict[str, Callable[[], object]], replays: int, times: int = TIMES
) -> dict[str, float]:
    """The median of each in ms."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times):
        for name, work in works.items():
            found[name].append(timed(work, replays))
    for name, took in found.items():
        print(
            f"  {label} {name}: {statistics.median(took):.3f} ms ({min(took):.3f}-{max(took):.3f})",
            flush=True,
        )
    return {name: statistics.median(took) for name, took in found.items()}


def whole(model: Any, rows: int, context: int) -> None:
    """Reading prompts, and whole answers."""
    decoders = {"torch": GraphDecoder(model, frozenset(), context, NEW)}
    decoders["torch"]._parts = None
    decoders["fused"] = GraphDecoder(model, frozenset(), context, NEW)
    prompts = torch.randint(3, 40000, (rows, context)).tolist()
    buckets, works = {}, {}
    every = decoders["fused"]._parts
    decoders["fused"]._parts = every and replace(every, most_rows=max(rows * context, every.most_rows))
    for name, decoder in decoders.items():
        decoder._rows = [rows]
        buckets[name] = decoder._bucket(rows, context).record()[0]
        works[name] = partial(decoder.generate, prompts, [NEW] * rows, [True] * rows)
    in_turn(f"{rows:4} prompts read", buckets, 3)
    answers = [work() for work in works.values()]
    same = sum(one == other for one, other in zip(*answers, strict=True)) / rows
    for name, middle in in_turn(f"{rows:4} answers", works, 1, 3).items():
        print(
            f"  {rows:4} answers {name}: {rows / middle * 1e3:.1f} a second, equal to the other's {same:.3f}"
        )


def profile(name: str, work: Callable[[], None]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        for _ in range(10):
            work()
        torch.cuda.synchronize()
    kernels = sorted(found.key_averages(), key=lambda each: -each.self_device_time_total)
    lines = [
        f"{each.self_device_time_total / 10:9.1f} µs {each.count / 10:6.0f} {each.key[:90]}"
        for each in kernels
    ]
    (OUT / f"{name}.txt").write_text("\n".join(lines[:15]) + "\n")


def main() -> None:
    shape = sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m"
    model = network(shape, torch.bfloat16)
    with torch.inference_mode():
        measure(shape, model)


def measure(shape: str, model: Any) -> None:
    sizes = [int(each) for each in (sys.argv[2] if len(sys.argv) > 2 else "1,32,128").split(",")]
    context = int(sys.argv[3]) if len(sys.argv) > 3 else 256
    card = torch.cuda.get_device_name()
    rate = next(rate for name, rate in RATES.items() if name in card)
    print(shape, card, torch.__version__)
    wide = deepcopy(model).float()
    _fuse_norms(model)
    held = sum(each.nbytes for each in model.parameters())
    for rows in sizes:
        check(model, wide, rows, context)
        steps = {"torch": step(model, rows, context, False), "fused": step(model, rows, context, True)}
        works: dict[str, Callable[[], object]] = {name: made._run for name, made in steps.items()}
        for name, middle in in_turn(f"{rows:4} rows", works, REPLAYS).items():
            share = (held + rows * context * heads(model).token_bytes) / (middle / 1e3) / rate
            print(f"  {rows:4} rows {name}: {share:.3f} of the memory's rate")
        for name, made in steps.items():
            profile(f"profile-{shape}-{rows}-{name}", made._run)
    for rows in (each for each in sizes if each > 2):
        steps = {name: step(model, rows, context, name == "fused", 2) for name in ("torch", "fused")}
        works = {name: made._run for name, made in steps.items()}
        in_turn(f"{rows - 2:4} rows beside two prompts", works, 5)
    for rows in sizes:
        whole(model, rows, context)


if __name__ == "__main__":
    main()
