"""Launches of the kernels that score all rows and keep only the maxima of groups."""

from __future__ import annotations

import torch

from mlsys.distance.search import kernels
from mlsys.distance.search.cityblock import MaximumScorer
from mlsys.distance.search.scores import ProductScorer
from mlsys.distance.search.settings import Tile, cityblock_tile, product_tile

PADDED, PADDED_DIM = 256, 16  # rows and dimension of the l1 kernel: the largest of its tiles
BIG_SHARED_BYTES = 200 << 10  # of a Hopper or Blackwell data-centre GPU, which also have TMA
TF32_EPS = 2.0**-9  # two factors cut to 10 bits


class ProductMaxima:
    """Group maxima of x·y·scale + bias, for all metrics but l1."""

    def __init__(self, scorer: ProductScorer) -> None:
        self.rows = scorer.rows
        self.scale = None if scorer.scale is None else scorer.scale.float()
        self.bias = None if scorer.bias is None else scorer.bias.float()
        self.shortest = scorer.smallest * (1 - 1e-6)
        self.longest = 1.0 if scorer.metric == "cosine" else scorer.largest * (1 + 1e-6)
        self.big = not self.rows.is_cuda or _shared_bytes(self.rows) >= BIG_SHARED_BYTES
        self.aligned = (
            self.rows.shape[1] * self.rows.dtype.itemsize % 16 == 0 and self.rows.data_ptr() % 16 == 0
        )
        rounding = 4 * (self.rows.shape[1] + 16) * torch.finfo(torch.float32).eps
        self.tolerance = rounding + (TF32_EPS if self.rows.dtype == torch.float32 else 0.0)

    def cast(self, queries: torch.Tensor) -> torch.Tensor:
        """Queries in the dtype that `launch` takes."""
        return queries.to(self.rows.dtype)

    def tile(self, queries: int) -> Tile:
        """The cut for so many queries."""
        return product_tile(queries, self.rows.dtype, self.big, self.aligned)

    def launch(self, queries: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Maxima (Q, groups) float32 of queries (Q, d)."""
        count, dim = queries.shape
        tiles = -(-len(self.rows) // tile.BN)
        groups = tiles * tile.CLASSES
        maxima = torch.empty(count, groups, dtype=torch.float32, device=queries.device)
        sides = (self.scale, self.bias, maxima, count, len(self.rows), groups)
        shape = {"D": dim, "BN": tile.BN, "BK": tile.BK, "CLASSES": tile.CLASSES, "num_warps": tile.warps}
        given = {"SCALED": self.scale is not None, "BIASED": self.bias is not None}
        if tile.BM == 1:
            kernels.vector_maxima[(tiles, count)](
                queries, self.rows, *sides, CITYBLOCK=False, **shape, **given
            )
            return maxima
        tiles *= -(-count // tile.BM)
        grid = (min(tiles, tile.programs * _processors(self.rows)) if tile.programs else tiles,)
        x: object = queries
        y: object = self.rows
        if tile.tma:
            x, y = _descriptor(queries, tile.BM, tile.BK), _descriptor(self.rows, tile.BN, tile.BK)
        kernels.product_maxima[grid](
            x, y, *sides, BM=tile.BM, PRECISION="tf32", TMA=tile.tma, FLATTEN=tile.programs > 0,
            STAGES=tile.stages, **shape, **given,
        )  # fmt: skip
        return maxima


class CityblockMaxima:
    """Group maxima of -Σ|x - y|. Keeps a transposed copy of the rows."""

    def __init__(self, scorer: MaximumScorer) -> None:
        self.rows = scorer.rows
        self.dim = -(-self.rows.shape[1] // PADDED_DIM) * PADDED_DIM
        self.transposed = self.rows.new_zeros(self.dim, -(-len(self.rows) // PADDED) * PADDED)
        self.transposed[: self.rows.shape[1], : len(self.rows)] = self.rows.T
        self.zeros = torch.zeros(PADDED, dtype=torch.float16, device=self.rows.device)
        self.shortest, self.longest = 1.0, scorer.largest
        self.tolerance = 4 * (self.dim + 16) * torch.finfo(torch.float32).eps

    def cast(self, queries: torch.Tensor) -> torch.Tensor:
        """Queries as they are: the kernels work in float32."""
        return queries

    def tile(self, queries: int) -> Tile:
        """The cut for so many queries."""
        return cityblock_tile(queries)

    def launch(self, queries: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Maxima (Q, groups) float32 of queries (Q, d)."""
        count, dim = queries.shape
        tiles = -(-len(self.rows) // tile.BN)
        groups = tiles * tile.CLASSES
        maxima = torch.empty(count, groups, dtype=torch.float32, device=queries.device)
        shape = {"BN": tile.BN, "CLASSES": tile.CLASSES, "num_warps": tile.warps}
        sides = (maxima, count, len(self.rows), groups)
        if tile.BM == 1:
            kernels.vector_maxima[(tiles, count)](
                queries, self.rows, None, None, *sides,
                D=dim, BK=tile.BK, SCALED=False, BIASED=False, CITYBLOCK=True, **shape,
            )  # fmt: skip
            return maxima
        x = queries.new_zeros(-(-count // tile.BM) * tile.BM, self.dim)
        x[:count, :dim] = queries
        kernels.cityblock_maxima[(tiles * -(-count // tile.BM),)](
            x, self.transposed, self.zeros, *sides, self.transposed.shape[1],
            D=self.dim, BM=tile.BM, UNROLL=tile.BK, **shape,
        )  # fmt: skip
        return maxima


def _descriptor(rows: torch.Tensor, lines: int, width: int) -> object:
    from triton.tools.tensor_descriptor import TensorDescriptor

    return TensorDescriptor.from_tensor(rows, [lines, width])


def _processors(rows: torch.Tensor) -> int:
    return torch.cuda.get_device_properties(rows.device).multi_processor_count if rows.is_cuda else 4


def _shared_bytes(rows: torch.Tensor) -> int:
    properties = torch.cuda.get_device_properties(rows.device)
    return int(getattr(properties, "shared_memory_per_block_optin", 0))
