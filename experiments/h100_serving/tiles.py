"""The tiles of a fused step, each tried in the step as a whole:

    python experiments/h100_serving/tiles.py smollm2-135m 1,32,128,1024 [only=qkv,attend] [compile=NUMBER/COUNT]

Steps of up to 256 rows write, longer ones read prompts of 256 tokens. One product after the other is tried in other
tiles, its fastest is kept, and the step by torch's kernels stands beside. A kernel alone, repeated over all layers,
would find its weights in the cache, where a step does not. `only` names what is tried. With `compile` the kernels are
only compiled, this process's part of them. Prints ms of a step, fastest first.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from step import network, timed

from mlsys.rag.generator import static_step
from mlsys.rag.generator.fused_model import parts
from mlsys.rag.generator.fused_step import FusedStep
from mlsys.rag.generator.fused_tiles import Product, power
from mlsys.rag.generator.graphs import _fuse_norms
from mlsys.rag.generator.kv_cache import heads
from mlsys.rag.generator.recorded import pool_on, recorded
from mlsys.rag.generator.static_step import Common, StaticStep
from mlsys.rag.generator.step_layout import Piece

CONTEXT, MOST_WRITES, SHOWN = 256, 256, 3


# Rows, columns, inner size, warps and stages that are tried, by rows of the step.
TRIED = {
    1: (
        (1, 4, 2048, 4, 1), (1, 4, 2048, 8, 1), (1, 8, 1024, 4, 1), (1, 8, 1024, 8, 1),
        (1, 16, 1024, 8, 1), (1, 8, 512, 4, 1), (1, 2, 2048, 4, 1),
    ),
    32: (
        (16, 16, 64, 1, 4), (16, 64, 128, 4, 4), (32, 16, 128, 2, 4), (32, 16, 256, 2, 4),
        (32, 32, 128, 4, 4), (32, 32, 256, 4, 3), (32, 64, 64, 4, 4), (32, 64, 128, 4, 4),
        (32, 128, 64, 4, 4), (32, 128, 128, 4, 3), (32, 64, 256, 4, 3), (32, 64, 256, 8, 3),
        (16, 16, 256, 2, 4), (16, 32, 256, 4, 3), (16, 64, 256, 4, 3), (32, 32, 512, 4, 2),
    ),
    256: (
        (32, 16, 128, 2, 4), (64, 16, 256, 4, 4), (64, 32, 64, 4, 4), (64, 32, 128, 4, 4),
        (64, 64, 64, 4, 4), (64, 64, 128, 4, 4), (64, 128, 64, 4, 4), (128, 32, 64, 4, 4),
        (128, 64, 64, 4, 4), (128, 128, 64, 8, 4), (64, 64, 256, 4, 3), (128, 64, 128, 8, 3),
        (128, 32, 128, 4, 4), (128, 64, 64, 8, 4), (128, 16, 128, 4, 4), (64, 32, 256, 4, 3),
    ),
    1 << 30: (
        (64, 32, 64, 4, 4), (64, 64, 64, 4, 4), (64, 128, 64, 4, 4), (128, 32, 64, 4, 4),
        (128, 64, 64, 4, 4), (128, 64, 64, 8, 4), (128, 128, 64, 8, 4), (128, 128, 64, 8, 3),
        (128, 256, 64, 8, 3), (128, 128, 128, 8, 3),
    ),
}  # fmt: skip
NAMES = ("ROWS", "COLS", "INNER", "num_warps", "num_stages")


def tiles(rows: int, own: Product) -> Iterator[dict[str, Any]]:
    """Those that fit the product."""
    for tile in next(tried for most, tried in TRIED.items() if rows <= most):
        _, cols, inner, *_ = tile
        if cols <= power(own.span) and inner < 2 * own.width:
            yield {**dict(zip(NAMES, tile, strict=True)), "AHEAD": rows > 1}


def whole(model: Any, rows: int, fused: bool, run: bool = True) -> StaticStep:
    """A step of `rows` that write, or of prompts of `CONTEXT` tokens with `rows` in all; one that has run."""
    reads = 0 if rows <= MOST_WRITES else rows // CONTEXT
    writes = 1 if reads else rows
    kept, slots = heads(model), writes + reads
    cache = torch.randn(
        (kept.layers, 2, slots, kept.heads, CONTEXT + 64, kept.dim), dtype=model.dtype, device="cuda"
    )
    latest = torch.arange(7, 8 + slots, device="cuda")
    own = replace(parts(model, CONTEXT + 64), most_rows=rows + writes) if fused else None
    common = Common(model, cache, latest, own)
    made = StaticStep(common, writes, reads * CONTEXT)
    pieces = [Piece(slot, 0, list(range(9, 9 + CONTEXT)), True) for slot in range(writes, slots)]
    if run:
        made.run(range(writes), [CONTEXT - 1] * writes, pieces)
    return made


def fused_step(made: StaticStep) -> FusedStep:
    choice: Any = made._choice()
    return choice.args[1] if isinstance(choice, partial) else choice.__self__  # type: ignore[no-any-return]


def measured(fused: FusedStep) -> float:
    """ms of a step, the median of five."""
    work = recorded(fused.run, pool_on(torch.device("cuda")))
    replays = max(2, min(20, int(10 / timed(work, 2))))
    return statistics.median(timed(work, replays) for _ in range(5))


class Tuning:
    """One step, whose tiles are tried."""

    def __init__(self, model: Any, rows: int, part: list[int] | None, only: set[str]) -> None:
        self._rows, self._part, self._only = rows, part, only
        self.made = whole(model, rows, True, part is None)
        self.fused = fused_step(self.made)

    def tried(
        self, label: str, choices: list[Any], put: Callable[[Any], None], one: Callable[[], None]
    ) -> None:
        """The fastest of `choices` stays."""
        if self._only and label not in self._only:
            return
        found = []
        for number, choice in enumerate(choices):
            if self._part is not None and number % self._part[1] != self._part[0]:
                continue
            put(choice)
            try:
                self.fused.allocate()
                if self._part is not None:
                    one()
                else:
                    found.append((measured(self.fused), number))
            except Exception as error:  # too much shared memory
                print(label, choice, type(error).__name__, str(error)[:80])
        if self._part is not None:
            put(choices[0])
            self.fused.allocate()
            return
        best = sorted(found)
        put(choices[best[0][1]])
        self.fused.allocate()
        print(f"{self._rows:5} rows {label}: own choice {found[0][0]:.4f}, best of {len(found)}")
        for took, number in best[:SHOWN]:
            print(f"       {took:.4f} {choices[number]}", flush=True)

    def products(self) -> None:
        fused, layer, kept = self.fused, self.fused._parts.layers[0], self.fused._kept[0]
        ones: dict[str, Callable[[], None]] = {
            "out": partial(fused.add, "out", layer.out, layer.norm),
            "down": partial(fused.add, "down", layer.down, layer.norm),
            "qkv": partial(fused.qkv, layer, kept),
            "swiglu": partial(fused.swiglu, layer),
            "vocabulary": fused.vocabulary,
        }
        for name, one in ones.items():
            own = fused.products[name]
            choices = [dict(fused.tiles[name]), *tiles(own.rows, own)]
            self.tried(name, choices, partial(self._tile, name), one)

    def _tile(self, name: str, tile: Any) -> None:
        self.fused.tiles[name] = tile

    def ahead(self) -> None:
        """Whether weights are fetched before a kernel may begin."""
        for name in self.fused.tiles:
            choices = [{**self.fused.tiles[name], "AHEAD": ahead} for ahead in (True, False)]
            self.tried(f"{name} ahead", choices, partial(self._tile, name), lambda: None)

    def attention(self) -> None:
        """Spans, keys at once and warps of rows that write."""
        fused = self.fused
        if self._rows > MOST_WRITES:
            return
        spans = (1, 2, 4, 8) if self._rows == 1 else (1,)
        choices = [(fused._splits, dict(fused.span))]
        for count, block, warps in product(spans, (32, 64, 128, 256), (4, 8)):
            if block // 32 <= warps <= block // 16:
                stages = 3 if block <= 64 else 2
                choices.append((count, {"BLOCK": block, "num_warps": warps, "num_stages": stages}))
        self.tried("attend", choices, self._span, partial(fused.attend, fused._kept[0]))

    def _span(self, choice: Any) -> None:
        self.fused._splits, self.fused.span = choice


def main() -> None:
    shape, rows, *words = sys.argv[1:]
    given = dict(word.split("=") for word in words)
    only = set(given.get("only", "").split(",")) - {""}
    part = [int(each) for each in given["compile"].split("/")] if "compile" in given else None
    model = network(shape, torch.bfloat16, 1 if part else None)
    _fuse_norms(model)
    if part is not None:
        static_step.recorded = lambda work, *_: work
    with torch.inference_mode():
        for count in (int(each) for each in rows.split(",")):
            if part is None:
                plain = whole(model, count, False)
                middle = statistics.median(timed(plain._run, 10) for _ in range(5))
                print(f"{count:5} rows torch: {middle:.4f}")
                del plain
            tuning = Tuning(model, count, part, only)
            tuning.products()
            tuning.attention()
            tuning.ahead()


if __name__ == "__main__":
    main()
