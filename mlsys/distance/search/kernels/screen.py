"""Group maxima from an int8 copy of the rows: half the bytes of float16, and the matrix unit's fastest products.

The copy stands beside the rows. A score from it is wrong by more than one from the rows, so more groups are looked
into; their rows are recomputed as ever, and the proof takes the larger error. See `codes` for the bound.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import codes
from mlsys.distance.search.kernels.launch import compiled, kinds
from mlsys.distance.search.kernels.maxima import descriptor, limits, processors
from mlsys.distance.search.kernels.rescore import power_of_two, steps
from mlsys.distance.search.kernels.tiles import SMALL, Tile, screen_tile
from mlsys.errors import UserError

WARPS = 4
CODED = 4096  # elements that a program codes
ALIGNED = 16  # bytes, of tensor copies
MOST_DIM = 2**31 // 127**2  # whose sums of products fit 32 bits
SIDES = ("scales", "lengths", "lost")
SCREENS = ("none", "int8")


def may_screen(screen: str, method: str, form: str, rows: torch.Tensor) -> bool:
    """Whether to keep an int8 copy of the rows (N, d). Raises `UserError` where there can be none."""
    if screen not in SCREENS:
        raise UserError(f"screen={screen} must be one of {', '.join(SCREENS)}")
    if screen == "none":
        return False
    if method != "kernels":
        raise UserError(
            f"screen={screen} needs the kernels, on a GPU; these rows are searched with method={method}"
        )
    if form == "l1":
        raise UserError(f"screen={screen} is for metrics made of products; l1 is none")
    if rows.dtype == torch.float64 or rows.shape[1] > MOST_DIM:
        raise UserError(f"screen={screen} takes rows of up to {MOST_DIM} elements, not of float64")
    return True


class Coded(NamedTuple):
    """Vectors as `codes` (n, width) int8 times `scales` (n,) float32, and what the bound takes of them: see `codes`."""

    codes: torch.Tensor
    scales: torch.Tensor
    lengths: torch.Tensor
    lost: torch.Tensor

    @classmethod
    def of(cls, vectors: torch.Tensor, queries: bool) -> Coded:
        """Of vectors (n, d)."""
        (count, dim), device = vectors.shape, vectors.device
        width = -(-dim // ALIGNED) * ALIGNED
        sides = (torch.empty(count, dtype=torch.float32, device=device) for _ in range(3))
        made = cls(torch.empty(count, width, dtype=torch.int8, device=device), *sides)
        room = power_of_two(width)
        lines = max(1, CODED // room)
        kernel = compiled(
            codes.coded, WARPS, kinds(vectors, vectors), ROOM=room, LINES=lines, QUERIES=queries
        )  # fmt: skip
        kernel.bind(-(-count // lines), vectors, *made, count, dim, width)()
        return made


class ScreenMaxima:
    """Group maxima of scores from int8 codes, for all metrics but l1; see `ProductMaxima`."""

    def __init__(self, scorer: ProductScorer) -> None:
        rows = scorer.rows
        self.dim = rows.shape[1]
        made = Coded.of(rows, queries=False)
        if scorer.scale is not None:
            made = made._replace(**{side: getattr(made, side) * scorer.scale.float() for side in SIDES})
        self.rows, self.biased = made, scorer.bias is not None
        self.bias = made.scales if scorer.bias is None else scorer.bias.float()
        rounding = 4 * (self.dim + 16) * torch.finfo(torch.float32).eps
        longest = float((made.lengths + made.lost).max())
        self.limits = limits(rows, scorer.smallest, longest, rounding)

    @property
    def extra_bytes(self) -> int:
        """Of device memory that the copy takes."""
        return sum(part.nbytes for part in self.rows)

    def prepare(self, queries: torch.Tensor) -> tuple[torch.Tensor | Coded, torch.Tensor]:
        """What `launch` takes, and the queries (Q, d) that it stands for: what coding them loses is in the scores.

        A lone query is scored as it is.
        """
        return queries if len(queries) == 1 else Coded.of(queries, queries=True), queries

    def tile(self, queries: int) -> Tile:
        """The cut for so many queries."""
        return screen_tile(queries)

    def small_tile(self) -> Tile:
        """The cut for many queries and the smallest groups."""
        return screen_tile(SMALL)

    def launch(self, given: torch.Tensor | Coded, tile: Tile) -> torch.Tensor:
        """Maxima (Q, groups) float32 of what `prepare` made of queries (Q, d)."""
        y, tiles = self.rows.codes, -(-len(self.rows.codes) // tile.BN)
        shape = {"BN": tile.BN, "BK": tile.BK, "CLASSES": tile.CLASSES, "BIASED": self.biased}
        count, groups = 1 if isinstance(given, torch.Tensor) else len(given.codes), tiles * tile.CLASSES
        maxima = torch.empty(count, groups, dtype=torch.float32, device=y.device)
        if isinstance(given, torch.Tensor):
            shape |= steps(self.dim, tile.BK)
            vector = compiled(codes.code_vector_maxima, tile.warps, kinds(given, y), **shape)
            units, words = y.shape[1] // ALIGNED, y.view(torch.int32)
            vector.bind(tiles, maxima, *self.rows[1:], self.bias, given, words, len(y), self.dim, units)()
            return maxima
        tiles *= -(-count // tile.BM)
        programs = min(tiles, tile.programs * processors(y)) if tile.programs else tiles
        product = compiled(
            codes.code_maxima, tile.warps, kinds(given.codes, y),
            BM=tile.BM, FLATTEN=tile.programs > 0, STAGES=tile.stages, **shape,
        )  # fmt: skip
        blocks = descriptor(given.codes, tile.BM, tile.BK), descriptor(y, tile.BN, tile.BK)
        counts = count, len(y), groups, y.shape[1]
        product.bind(programs, maxima, *self.rows[1:], self.bias, *given[1:], *blocks, *counts)()
        return maxima
