"""Launches of the kernels that choose groups by their maxima: a few one after the other, many at once."""

from __future__ import annotations

import math

import torch

from mlsys.distance.search.kernels import lane, settle
from mlsys.distance.search.kernels.launch import compiled, kinds
from mlsys.distance.search.kernels.rescore import power_of_two
from mlsys.distance.search.kernels.tiles import MOST_LANES

WARPS = 4
LEAST_SLOTS = 16  # of the classes of groups taken that kernels are compiled for
MOST_HELD = 8192  # groups among which one program chooses as fast as several
LANES_SHARED, PIECE = 256, 2048  # lanes and groups for one of several programs


def choose(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m best groups (Q, m) of maxima (Q, groups) and the cut (Q,) that no other group is above."""
    count, groups = maxima.shape
    chosen = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    cut = maxima.new_empty(count)
    slots = slots_for(m)
    width = max(slots, min(8192, max(256, power_of_two(math.isqrt(groups * slots * 3 // 4)))))
    kernel = compiled(
        settle.best_groups, WARPS, kinds(maxima, maxima),
        SLOTS=slots, WIDTH=width, FOLD=power_of_two(-(-groups // width)), DEPTH=max(1, 8192 // width),
    )  # fmt: skip
    kernel.bind(count, maxima, cut, chosen, groups, m)()
    return chosen, cut


def choose_many(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `choose`, for any m up to the number of groups; some more may be chosen, in no order, and -1 fill the rest."""
    count, groups = maxima.shape
    slots = slots_for(m)
    best = power_of_two(math.isqrt(groups * slots * 3 // 4))
    width = min(power_of_two(groups), max(slots, min(MOST_LANES, max(1024, best))))
    fold = power_of_two(-(-groups // width))
    if slots * fold > (width if groups <= MOST_LANES else MOST_HELD):
        if groups <= MOST_LANES or m <= MOST_LANES // 6:
            return choose_shared(maxima, m)
        values, chosen = maxima.topk(m, dim=1, sorted=False)
        return chosen.int(), values.amin(1)
    chosen = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    lanes, cut = torch.empty_like(chosen), maxima.new_empty(count)
    depth = max(1, 8192 // width)
    kernel = compiled(
        lane.best_groups, warps_for(width * depth), kinds(maxima, maxima),
        SLOTS=slots, WIDTH=width, FOLD=fold, DEPTH=depth,
    )  # fmt: skip
    kernel.bind(count, maxima, cut, lanes, chosen, groups, m)()
    return chosen, cut


def choose_shared(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `choose_many`, several programs for a query; where groups are more than lanes, m up to a sixth of these."""
    (count, groups), width, of = maxima.shape, MOST_LANES, kinds(maxima, maxima)
    folded = groups > width
    tops, slots = maxima, m
    if folded:
        slots = m + m // 8 + 8  # so many groups reach what m lanes reach, unless all too many share a lane
        tops = maxima.new_empty(count, width)
        kernel = compiled(lane.lane_tops, WARPS, of, WIDTH=width, LANES=LANES_SHARED, DEPTH=4)
        kernel.bind(count * (width // LANES_SHARED), maxima, tops, groups)()
    chosen = torch.empty(count, slots, dtype=torch.int32, device=maxima.device)
    taken, level, lanes = chosen.new_empty(count, 2), maxima.new_empty(count), tops.shape[1]
    held, room = power_of_two(lanes), slots_for(slots)
    kernel = compiled(lane.lane_level, warps_for(held), of, ROOM=room, WIDTH=held)
    kernel.bind(count, tops, level, chosen, taken, lanes, m, slots)()
    best = chosen.new_empty(count, m) if folded else chosen
    kernel = compiled(lane.reaching, WARPS, of, PIECE=PIECE)
    kernel.bind(count * -(-lanes // PIECE), tops, level, best, taken, lanes, m)()
    if folded:
        fold = power_of_two(-(-groups // width))
        piece = max(1, PIECE // fold)
        kernel = compiled(lane.within, WARPS, of, PIECE=piece, WIDTH=width, FOLD=fold)
        kernel.bind(count * -(-m // piece), maxima, level, best, chosen, taken, groups, m, slots)()
    return chosen, level


def slots_for(m: int) -> int:
    """Of m groups the class that kernels are compiled for."""
    return max(LEAST_SLOTS, power_of_two(m))


def warps_for(size: int) -> int:
    """Of a program that holds so many values at once."""
    return max(4, min(16, size // 512))
