"""All pairs on a GPU: which way, and the two that serve any metric or any GPU.

l1 is `cityblock`; l2, its square and cosine are `integers` where the matrix unit is Hopper's. Else what is a product of
matrices takes one in float64 and a kernel that ends it, others a kernel from the elements. Data-centre GPUs multiply
float64 matrices as fast as float32 ones, on their tensor cores (H100, A100). A block's product is as large as the
second-level cache holds, so that it hardly meets the memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mlsys.distance.cross import cityblock, integers
from mlsys.distance.cross.kernels import direct_kernel, settle_kernel
from mlsys.distance.cross.products import FORMS, LOST, SMALLEST
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.rows.gpu import on, said_of

BLOCK_SCORES = 1 << 22  # products of a block: 32 MiB of float64
SETTLE = (8, 128)  # rows and columns of a tile whose products are ended
DIRECT = (64, 64)  # of one that is computed from the elements


def computed(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x (Q, n) to each of y (N, n) into out (Q, N) of float32 or float64."""
    ours, wide = metric.search == metric.name, x.dtype == torch.float64
    if ours and metric.name == "l1" and not wide:
        cityblock.computed(x, y, out)
    elif ours and not wide and integers.can(metric.name, x):
        integers.computed(x, y, metric, out)
    elif ours and metric.name in FORMS:
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
    kind = for_dtype(metric, x.dtype == torch.float64)
    left, right = (_turned(rows, tile) for rows, tile in zip((x, y), DIRECT, strict=True))
    zeros = torch.zeros(DIRECT[1], dtype=torch.float32, device=x.device)
    tiles = -(-len(x) // DIRECT[0]) * -(-len(y) // DIRECT[1])
    words: dict[str, Any] = {"BM": DIRECT[0], "BN": DIRECT[1]}
    with on(x.device):
        direct_kernel[(tiles,)](
            left, right, zeros, out, len(x), len(y), len(left), **said_of(kind, x.dtype), **words, num_warps=8
        )


def _turned(rows: torch.Tensor, tile: int) -> torch.Tensor:
    """(n, rows), with zeros up to whole tiles."""
    return F.pad(rows, (0, 0, 0, -len(rows) % tile)).T.contiguous()
