"""Launches of the kernels that choose groups by their maxima: a few one after the other, many at once."""

from __future__ import annotations

import math

import torch

from mlsys.distance.search.kernels import many, settle
from mlsys.distance.search.kernels.launch import compiled, kinds
from mlsys.distance.search.kernels.rescore import power_of_two

WARPS = 4
MOST_LANES = 16_384


def choose(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m best groups (Q, m) of maxima (Q, groups) and the cut (Q,) that no other group is above."""
    count, groups = maxima.shape
    chosen = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    cut = maxima.new_empty(count)
    slots = power_of_two(m)
    width = max(slots, min(8192, max(256, power_of_two(math.isqrt(groups * m)))))
    kernel = compiled(
        settle.best_groups, WARPS, kinds(maxima, maxima),
        M=m, SLOTS=slots, WIDTH=width, FOLD=power_of_two(-(-groups // width)), DEPTH=max(1, 8192 // width),
    )  # fmt: skip
    kernel.bind(count, maxima, cut, chosen, groups)()
    return chosen, cut


def choose_many(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `choose`, for any m up to the number of groups."""
    count, groups = maxima.shape
    lanes = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    rest = maxima.new_empty(count)
    best = power_of_two(math.isqrt(groups * m))
    width = min(power_of_two(groups), max(power_of_two(m), min(MOST_LANES, max(1024, best))))
    depth = max(1, 8192 // width)
    kernel = compiled(
        many.best_lanes, warps_for(width * depth), kinds(maxima, maxima), M=m, WIDTH=width, DEPTH=depth
    )
    kernel.bind(count, maxima, rest, lanes, groups)()
    fold = power_of_two(-(-groups // width))
    if fold == 1:
        return lanes, rest
    chosen, cut = torch.empty_like(lanes), torch.empty_like(rest)
    slots = power_of_two(m)
    kernel = compiled(
        many.best_of_lanes,
        warps_for(slots * fold),
        kinds(maxima, maxima),
        M=m,
        SLOTS=slots,
        WIDTH=width,
        FOLD=fold,
    )
    kernel.bind(count, maxima, rest, lanes, cut, chosen, groups)()
    return chosen, cut


def warps_for(size: int) -> int:
    """Of a program that holds so many values at once."""
    return max(4, min(16, size // 512))
