"""Distances from a product of matrices in float64, and where that has lost the digits that were asked for.

For rows of norms² xx and yy and inner products xy, the squared distance is xx + yy − 2·xy. What it loses is float64's
rounding of xx + yy, so a result far below that is computed again from the differences (`doubtful`). In float64 this
happens to near-duplicates alone; in float32 it would happen to half of ordinary embeddings.
"""

from __future__ import annotations

import torch

FORMS = ("l2", "sqeuclidean", "cosine", "dot")
LOST = {
    torch.float32: 1e-7,
    torch.float64: 1e-3,
}  # shares of xx + yy below which a result has too few digits left
SMALLEST = 1e-280  # squares below may have lost digits


def distances(
    form: str, x: torch.Tensor, y: torch.Tensor, xx: torch.Tensor, yy: torch.Tensor, result: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The distances (Q, N) float64 of x (Q, n) and y (N, n) float64, and which are in doubt, None where none is.

    xx (Q, 1) and yy (N,) are the squared norms. What is not finite is in doubt too.
    """
    if form == "dot":
        return x @ y.T, None
    if form == "cosine":
        value = torch.addmm(
            torch.ones((), dtype=x.dtype, device=x.device),
            x / xx.sqrt(),
            (y / yy.sqrt()[:, None]).T,
            alpha=-1,
        )
        good = value > LOST[result]
    else:
        scale = xx + yy
        value = torch.addmm(scale, x, y.T, alpha=-2)
        good = value > scale.mul_(LOST[result])
    in_range = [*map(bool, ((part > SMALLEST).all() & (part < torch.inf).all() for part in (xx, yy)))]
    doubtful = None if all(in_range) and bool(good.all()) else ~good
    if doubtful is not None and not all(in_range):
        doubtful |= ~((xx > SMALLEST) & (yy > SMALLEST) & (xx < torch.inf) & (yy < torch.inf))
    return value.sqrt_() if form == "l2" else value, doubtful
