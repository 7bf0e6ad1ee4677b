"""All pairs on a GPU: a float64 product and a kernel that ends it, or a kernel from the elements.

Data-centre GPUs multiply float64 matrices as fast as float32 ones, on their tensor cores (H100, A100). A block's
product is as large as the second-level cache holds, so that it hardly meets the memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mlsys.distance.cross.kernels import direct_kernel, settle_kernel
from mlsys.distance.cross.products import FORMS, LOST, SMALLEST
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.rows.gpu import on, said_of

BLOCK_SCORES = 1 << 22  # products of a block: 32 MiB of float64
SETTLE = (8, 128)  # rows and columns of a tile whose products are ended
DIRECT = (64, 64)  # of one that is computed from the elements
CHUNK = 8  # absolute differences added in float32


def computed(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x (Q, n) to each of y (N, n) into out (Q, N) of float32 or float64."""
    if metric.search in FORMS and metric.name == metric.search:
        by_products(x, y, metric, out)
    else:
        directly(x, y, metric, out)


def by_products(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """For a metric of `products.FORMS`."""
    wide = y.double()
    yy = wide.square().sum(1)
    step = max(SETTLE[0], BLOCK_SCORES // len(y))
    kind = for_dtype(metric, x.dtype == torch.float64)
    for first in range(0, len(x), step):
        part = x[first : first + step]
        some = part.double()
        product = some @ wide.T
        tiles = -(-len(part) // SETTLE[0]) * -(-len(y) // SETTLE[1])
        with on(x.device):
            settle_kernel[(tiles,)](
                product, some.square().sum(1), yy, part, y, out[first : first + step],
                len(part), len(y), x.shape[1], *part.stride(), *y.stride(), LOST[out.dtype],
                **said_of(kind, x.dtype), FORM=metric.name, SMALLEST=SMALLEST, BM=SETTLE[0], BN=SETTLE[1],
            )  # fmt: skip


def directly(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """For any metric."""
    absolute = metric.search == metric.name == "l1" and x.dtype != torch.float64
    kind = for_dtype(metric, x.dtype == torch.float64)
    chunk = CHUNK if absolute else 1
    left, right = (_turned(rows, chunk, tile) for rows, tile in zip((x, y), DIRECT, strict=True))
    zeros = torch.zeros(DIRECT[1], dtype=torch.float32, device=x.device)
    tiles = -(-len(x) // DIRECT[0]) * -(-len(y) // DIRECT[1])
    words: dict[str, Any] = {"BM": DIRECT[0], "BN": DIRECT[1], "CHUNK": chunk, "ABSOLUTE": absolute}
    with on(x.device):
        direct_kernel[(tiles,)](
            left, right, zeros, out, len(x), len(y), len(left), **said_of(kind, x.dtype), **words, num_warps=8
        )


def _turned(rows: torch.Tensor, chunk: int, tile: int) -> torch.Tensor:
    """(n, rows), with zeros up to whole chunks and tiles."""
    return F.pad(rows, (0, -rows.shape[1] % chunk, 0, -len(rows) % tile)).T.contiguous()
