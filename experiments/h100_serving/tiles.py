"""Each product of a fused step in several tiles, and by torch:

    python experiments/h100_serving/tiles.py smollm2-135m 1,32,128 [compile NUMBER COUNT]

With `compile` the kernels are only compiled, this process's part of them. Otherwise each is timed over all layers as a
CUDA graph. Prints µs a layer, fastest first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from step import network, step, timed

from mlsys.rag.generator.fused_step import FusedStep
from mlsys.rag.generator.fused_tiles import power
from mlsys.rag.generator.graphs import _fuse_norms
from mlsys.rag.generator.recorded import recorded

SHOWN = 4


def tiles(rows: int, width: int, span: int) -> Iterator[dict[str, int]]:
    if rows == 1:
        for inner, cols, warps in product((512, 1024, 2048), (2, 4, 8, 16), (2, 4, 8)):
            if inner < 2 * width and 2048 <= cols * inner <= 16384 and cols * inner // warps in (1024, 2048):
                yield {"ROWS": 1, "COLS": cols, "INNER": inner, "num_warps": warps, "num_stages": 1}
        return
    heights = [each for each in (16, 32, 64, 128) if each <= max(16, rows) and each * 8 >= rows]
    for height, cols, inner in product(heights, (16, 32, 64, 128), (64, 128, 256)):
        programs = span // cols * -(-rows // height)
        waste = -(-width // inner) * inner > 1.2 * width
        if (
            waste
            or power(span) < cols
            or programs > 2000
            or (programs < 64 and cols > 16)
            or height * cols > 8192
            or inner * cols > 16384
        ):
            continue
        for warps in (8,) if height * cols >= 8192 else (4,) if height * cols >= 1024 else (1, 2, 4):
            stages = 3 if inner * (cols + height) > 16384 else 4
            yield {"ROWS": height, "COLS": cols, "INNER": inner, "num_warps": warps, "num_stages": stages}


class Products:
    """The products of a step, over all layers at once."""

    def __init__(self, model: Any, rows: int) -> None:
        made = step(model, rows, 256, True)
        self.kept = list(made._common.kept)
        self.fused: FusedStep = made._choice().__self__  # type: ignore[attr-defined]
        self.fused.run()
        self.layers = self.fused._parts.layers

    def run(self, name: str) -> None:
        """The fused kernel `name` of each layer."""
        fused = self.fused
        if name == "vocabulary":
            return fused.vocabulary()
        for layer, kept in zip(self.layers, self.kept, strict=True):
            if name == "qkv":
                fused.qkv(layer, kept)
            elif name == "attend":
                fused.attend(kept)
            elif name == "swiglu":
                fused.swiglu(layer)
            else:
                fused.add(name, layer.out if name == "out" else layer.down)
        return None

    def torch(self, name: str) -> None:
        """The same by torch, without rotation and cache; of `vocabulary` with its argmax."""
        fused, rows = self.fused, self.fused._rows
        hidden = fused._hidden[:rows]
        normed = partial(functional.rms_norm, hidden, hidden.shape[1:])
        attended = hidden.new_zeros(rows, self.layers[0].out.shape[1])
        if name == "vocabulary":
            functional.linear(normed(fused._parts.norm), fused._parts.head).argmax(-1)
            return
        for layer in self.layers:
            if name == "qkv":
                functional.linear(normed(layer.norm), layer.heads)
            elif name == "swiglu":
                gated, up = functional.linear(normed(layer.inner_norm), layer.gate).chunk(2, -1)
                functional.silu(gated) * up
            elif name == "out":
                torch.addmm(hidden, attended, layer.out.T)
            elif name == "down":
                torch.addmm(hidden, fused._inner[:rows], layer.down.T)


def over_all(work: Callable[[], None], count: int) -> float:
    """µs a layer."""
    return timed(recorded(work, torch.device("cuda"), None)) * 1e3 / count


def main() -> None:
    model = network(sys.argv[1], torch.bfloat16)
    _fuse_norms(model)
    with torch.inference_mode():
        measure(model)


def measure(model: Any) -> None:
    part = [int(each) for each in sys.argv[4:6]] if "compile" in sys.argv else None
    for rows in (int(each) for each in sys.argv[2].split(",")):
        products, number = Products(model, rows), 0
        if part is None:
            print(
                f"{rows:4} rows attend: {over_all(partial(products.run, 'attend'), len(products.layers)):.2f} µs"
            )
        for name, own in products.fused.products.items():
            count = 1 if name == "vocabulary" else len(products.layers)
            found = []
            for tile in [dict(products.fused.tiles[name]), *tiles(rows, own.width, own.columns)]:
                number += 1
                if tile["COLS"] > power(own.span) or (part is not None and number % part[1] != part[0]):
                    continue
                products.fused.tiles[name] = tile  # type: ignore[assignment]
                products.fused.allocate()
                try:
                    if part is not None:
                        products.run(name)
                    else:
                        found.append((over_all(partial(products.run, name), count), tile))
                except Exception as error:  # too much shared memory
                    print(name, tile, type(error).__name__)
            if part is None:
                plain = over_all(partial(products.torch, name), count)
                print(f"{rows:4} rows {name}: torch {plain:.2f} µs, own choice {found[0][0]:.2f}")
                for time, tile in sorted(found[1:], key=lambda each: each[0])[:SHOWN]:
                    print(f"       {time:6.2f} {tile}", flush=True)


if __name__ == "__main__":
    main()
