"""Squared distances of all pairs on a GPU by way of whole numbers: launching the kernels of `digits` and `doubtful`."""

from __future__ import annotations

import torch

from mlsys.distance.cross import digits, doubtful
from mlsys.distance.metrics import Metric
from mlsys.distance.rows.gpu import said_of
from mlsys.distance.search.kernels.launch import compiled, kinds, placed
from mlsys.distance.search.kernels.maxima import descriptor

FORMS = ("l2", "sqeuclidean", "cosine")
HOPPER = 9  # compute capability
MOST_DIM = 8000  # of longer rows the sums of products leave the whole numbers of float64
SIDE, BK, STAGES, WARPS = 64, 64, 3, 4  # of the matrix unit's tiles
MIDDLE = {"SAMPLE": 16, "WIDTH": 32}
CODED, CODERS = {"LINES": 1, "WIDTH": 256}, 1  # a row lies in one warp, which need not wait for others
AGAIN = {"LINES": 16, "GROUP": 16, "PAIRS": 16, "BK": 128}


def can(form: str, x: torch.Tensor) -> bool:
    """Whether rows like these are computed so: the kernels are for Hopper's matrix unit."""
    device = x.device
    return (
        form in FORMS
        and 0 < x.shape[1] <= MOST_DIM
        and device.type == "cuda"
        and torch.cuda.get_device_capability(device)[0] == HOPPER
    )


def computed(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x (Q, n) to each of y (N, n) into out (Q, N) float32, for a metric of `FORMS`."""
    x, y = placed(x.contiguous()), placed(y.contiguous())
    (queries, n), rows = x.shape, len(y)
    numbers, *sides = coded(x, y, middle(y, metric.name), metric.name)
    tiles = -(-queries // SIDE) * -(-rows // SIDE)
    flags = torch.empty(tiles, dtype=torch.int32, device=x.device)
    squares = compiled(
        digits.squares_kernel,
        WARPS,
        kinds(numbers, numbers),
        FORM=metric.name,
        SIDE=SIDE,
        BK=BK,
        STAGES=STAGES,
    )
    block = descriptor(numbers, SIDE, BK)
    squares.bind(tiles, out, flags, *sides, block, queries, rows, numbers.shape[1])()
    again = compiled(doubtful.again_kernel, 4, kinds(x, y), **said_of(metric, x.dtype), SIDE=SIDE, **AGAIN)
    programs = -(-tiles // AGAIN["GROUP"]) * (SIDE // AGAIN["LINES"])
    again.bind(programs, x, y, out, flags, queries, rows, n)()


def middle(y: torch.Tensor, form: str) -> torch.Tensor:
    """A row (n,) float32 in the middle of y's: one that a few rows far off do not move."""
    (rows, n), width = y.shape, MIDDLE["WIDTH"]
    center = torch.empty(n, dtype=torch.float32, device=y.device)
    kernel = compiled(digits.center_kernel, 4, kinds(y, y), FORM=form, **MIDDLE)
    kernel.bind(-(-n // width), y, center, rows, n)()
    return center


def coded(x: torch.Tensor, y: torch.Tensor, center: torch.Tensor, form: str) -> tuple[torch.Tensor, ...]:
    """The digits (4 · (Q + N), width) int8 of all rows, and their scales, squares and limits: see `digits_kernel`."""
    (queries, n), rows = x.shape, len(y)
    count, width = queries + rows, -(-n // BK) * BK
    made = torch.empty(4 * count, width, dtype=torch.int8, device=x.device)
    scales, squares = torch.empty(2, count, dtype=torch.float64, device=x.device)
    limits = torch.empty(count, dtype=torch.float32, device=x.device)
    kernel = compiled(digits.digits_kernel, CODERS, kinds(x, y), FORM=form, **CODED)
    programs = sum(-(-each // CODED["LINES"]) for each in (queries, rows))
    kernel.bind(programs, x, y, center, made, scales, squares, limits, queries, rows, n, width // 16)()
    return made, scales, squares, limits
