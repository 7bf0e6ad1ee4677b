"""Launches of the kernels that score all rows and keep only the maxima of groups."""

from __future__ import annotations

from typing import Any

import torch

from mlsys.distance.launch import ALIGNMENT
from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import score
from mlsys.distance.search.kernels.launch import compiled, kinds
from mlsys.distance.search.kernels.rescore import in_units, steps
from mlsys.distance.search.kernels.tiles import SMALL, Tile, cityblock_tile, product_tile, small_tile

TILE_ROWS, PADDED_DIM = 128, 16  # of the l1 kernel's rows
BIG_SHARED_BYTES = 200 << 10  # of a Hopper or Blackwell data-centre GPU, which also have TMA
TF32_EPS = 2.0**-9  # two factors cut to 10 bits


class ProductMaxima:
    """Group maxima of x·y·scale + bias, for all metrics but l1."""

    def __init__(self, scorer: ProductScorer) -> None:
        self.rows = scorer.rows
        norms = self.rows.new_zeros(1, dtype=torch.float32)
        self.scale = norms if scorer.scale is None else scorer.scale.float()
        self.bias = norms if scorer.bias is None else scorer.bias.float()
        self.given = {"SCALED": scorer.scale is not None, "BIASED": scorer.bias is not None}
        self.big = not self.rows.is_cuda or _shared_bytes(self.rows) >= BIG_SHARED_BYTES
        self.aligned = self.rows.shape[1] * self.rows.dtype.itemsize % ALIGNMENT == 0
        error = 4 * (self.rows.shape[1] + 16) * torch.finfo(torch.float32).eps
        longest = 1.0 if scorer.metric == "cosine" else scorer.largest
        cut = TF32_EPS if self.rows.dtype == torch.float32 else 0.0
        self.limits = limits(self.rows, scorer.smallest, longest, error, cut)

    def prepare(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `launch` takes, and the queries (Q, d) that it stands for: both in the rows' dtype."""
        cast = queries.to(self.rows.dtype)
        return cast, cast

    def tile(self, queries: int) -> Tile:
        """The cut for so many queries."""
        return product_tile(queries, self.rows.dtype, self.big, self.aligned)

    def small_tile(self) -> Tile:
        """The cut for many queries and the smallest groups."""
        return small_tile(self.rows.dtype, self.big, self.aligned)

    def launch(self, queries: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Maxima (Q, groups) float32 of queries (Q, d)."""
        count, dim = queries.shape
        tiles = -(-len(self.rows) // tile.BN)
        groups = tiles * tile.CLASSES
        maxima = torch.empty(count, groups, dtype=torch.float32, device=queries.device)
        sides = (maxima, self.scale, self.bias)
        units, unit = in_units(dim)
        shape = {"UNIT": unit, "BN": tile.BN, "BK": tile.BK, "CLASSES": tile.CLASSES, **self.given}
        shape |= steps(dim, tile.BK)
        if tile.BM == 1:
            vector = compiled(
                score.vector_maxima, tile.warps, kinds(queries, self.rows), CITYBLOCK=False, **shape
            )
            vector.bind(tiles, *sides, queries, self.rows, len(self.rows), units)()
            return maxima
        tiles *= -(-count // tile.BM)
        programs = min(tiles, tile.programs * processors(self.rows)) if tile.programs else tiles
        product = compiled(
            score.product_maxima, tile.warps, kinds(queries, self.rows), BM=tile.BM, PRECISION="tf32", TMA=tile.tma,
            FLATTEN=tile.programs > 0, STAGES=tile.stages, **shape,
        )  # fmt: skip
        x = descriptor(queries, tile.BM, tile.BK) if tile.tma else queries
        y = descriptor(self.rows, tile.BN, tile.BK) if tile.tma else self.rows
        product.bind(programs, *sides, x, y, count, len(self.rows), groups, units)()
        return maxima


class CityblockMaxima:
    """Group maxima of -Σ|x - y|. Keeps a copy of the rows in transposed tiles."""

    def __init__(self, scorer: MaximumScorer) -> None:
        self.rows = scorer.rows
        self.tiles = _transposed_tiles(self.rows)
        self.zeros = {
            quads: torch.zeros(TILE_ROWS, dtype=dtype, device=self.rows.device)
            for quads, dtype in ((False, torch.float16), (True, torch.float32))
        }
        error = 4 * (self.tiles.shape[1] + 16) * torch.finfo(torch.float32).eps
        self.limits = limits(self.rows, 1.0, scorer.largest, error)

    def prepare(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `launch` takes, and what it stands for: the queries as they are. The kernels work in float32."""
        return queries, queries

    def tile(self, queries: int) -> Tile:
        """The cut for so many queries."""
        return cityblock_tile(queries)

    def small_tile(self) -> Tile:
        """The cut for many queries and the smallest groups."""
        return cityblock_tile(SMALL)

    def launch(self, queries: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Maxima (Q, groups) float32 of queries (Q, d)."""
        (count, dim), (tiles, padded, _) = queries.shape, self.tiles.shape
        if tile.BM == 1:
            tiles = -(-len(self.rows) // tile.BN)
        maxima = torch.empty(count, tiles * tile.CLASSES, dtype=torch.float32, device=queries.device)
        shape = {"BN": tile.BN, "CLASSES": tile.CLASSES}
        if tile.BM == 1:
            units, unit = in_units(dim)
            shape |= {"UNIT": unit, "BK": tile.BK, **steps(dim, tile.BK)}
            shape |= {"SCALED": False, "BIASED": False, "CITYBLOCK": True}
            vector = compiled(score.vector_maxima, tile.warps, kinds(queries, self.rows), **shape)
            vector.bind(tiles, maxima, maxima, maxima, queries, self.rows, len(self.rows), units)()
            return maxima
        query_tiles, (units, unit) = -(-count // tile.BM), in_units(padded)
        x = queries.new_zeros(query_tiles * tile.BM, padded)
        x[:count, :dim] = queries
        cityblock = compiled(
            score.cityblock_maxima,
            tile.warps,
            kinds(queries, self.rows),
            UNIT=unit,
            BM=tile.BM,
            UNROLL=tile.BK,
            QUADS=tile.quads,
            **shape,
        )
        counts = count, len(self.rows), maxima.shape[1], units
        cityblock.bind(tiles * query_tiles, maxima, self.zeros[tile.quads], x, self.tiles, *counts)()
        return maxima


def limits(
    rows: torch.Tensor, shortest: float, longest: float, rounding: float, cut: float = 0.0
) -> torch.Tensor:
    """What the proof takes of the rows (N, d) and their scores, see `settle.score_floor`; float64.

    Args:
        rows: what is searched.
        shortest, longest: norms of rows.
        rounding: relative error of a score in float32.
        cut: relative error of its factors.
    """
    values = [shortest, longest, cut + rounding, rounding]
    return torch.tensor(values, dtype=torch.float64, device=rows.device)


def _transposed_tiles(rows: torch.Tensor) -> torch.Tensor:
    """A copy (tiles, d, TILE_ROWS) of rows (N, d), padded with zeros."""
    whole, left = divmod(len(rows), TILE_ROWS)
    dim = -(-rows.shape[1] // PADDED_DIM) * PADDED_DIM
    tiles = rows.new_zeros(whole + (left > 0), dim, TILE_ROWS)
    head = rows[: whole * TILE_ROWS].view(whole, TILE_ROWS, rows.shape[1])
    tiles[:whole, : rows.shape[1]] = head.transpose(1, 2)
    if left:
        tiles[whole, : rows.shape[1], :left] = rows[whole * TILE_ROWS :].T
    return tiles


def descriptor(rows: torch.Tensor, lines: int, width: int) -> Any:
    """For tensor copies of blocks (lines, width)."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    return TensorDescriptor.from_tensor(rows, [lines, width])


def processors(rows: torch.Tensor) -> int:
    """Of the GPU; some where there is none."""
    return torch.cuda.get_device_properties(rows.device).multi_processor_count if rows.is_cuda else 4


def _shared_bytes(rows: torch.Tensor) -> int:
    properties = torch.cuda.get_device_properties(rows.device)
    return int(getattr(properties, "shared_memory_per_block_optin", 0))
