"""Launches of the kernels that choose groups by their maxima: a few one after the other, many at once."""

from __future__ import annotations

import math

import torch

from mlsys.distance.search.kernels import lane, settle
from mlsys.distance.search.kernels.launch import compiled, kinds
from mlsys.distance.search.kernels.rescore import power_of_two
from mlsys.distance.search.kernels.tiles import MOST_LANES

WARPS = 4
MOST_HELD = 8192  # groups among which one program chooses as fast as several
LANES_SHARED, PIECE = 256, 2048  # lanes and groups for one of several programs


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
    """As `choose`, for any m up to the number of groups; some more may be chosen, in no order, and -1 fill the rest."""
    count, groups = maxima.shape
    slots = power_of_two(m)
    best = power_of_two(math.isqrt(groups * m))
    width = min(power_of_two(groups), max(slots, min(MOST_LANES, max(1024, best))))
    fold = power_of_two(-(-groups // width))
    if slots * fold > (width if groups <= MOST_LANES else MOST_HELD):
        if groups <= MOST_LANES or m <= MOST_LANES // 6:
            return choose_shared(maxima, m)
        values, chosen = maxima.topk(m, dim=1, sorted=False)
        return chosen.int(), values.amin(1)
    lanes = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    rest = maxima.new_empty(count)
    depth = max(1, 8192 // width)
    kernel = compiled(
        lane.best_lanes, warps_for(width * depth), kinds(maxima, maxima), M=m, WIDTH=width, DEPTH=depth
    )
    kernel.bind(count, maxima, rest, lanes, groups)()
    if fold == 1:
        return lanes, rest
    chosen, cut = torch.empty_like(lanes), torch.empty_like(rest)
    kernel = compiled(
        lane.best_of_lanes, warps_for(slots * fold), kinds(maxima, maxima),
        M=m, SLOTS=slots, WIDTH=width, FOLD=fold,
    )  # fmt: skip
    kernel.bind(count, maxima, rest, lanes, cut, chosen, groups)()
    return chosen, cut


def choose_shared(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `choose_many`, several programs for a query; where groups are more than lanes, m up to a sixth of these."""
    (count, groups), width = maxima.shape, MOST_LANES
    slots = m + m // 8 + 8  # so many groups reach what m lanes reach, unless all too many share a lane
    tops, lanes = maxima, groups
    if groups > width:
        tops, lanes = maxima.new_empty(count, width), width
        kernel = compiled(
            lane.lane_tops, WARPS, kinds(maxima, maxima), WIDTH=width, LANES=LANES_SHARED, DEPTH=4
        )
        kernel.bind(count * (width // LANES_SHARED), maxima, tops, groups)()
    chosen = torch.empty(count, slots, dtype=torch.int32, device=maxima.device)
    taken, level = chosen.new_empty(count), maxima.new_empty(count)
    held = power_of_two(lanes)
    kernel = compiled(
        lane.lane_level,
        warps_for(held),
        kinds(maxima, maxima),
        M=m,
        SLOTS=slots,
        ROOM=power_of_two(slots),
        WIDTH=held,
    )
    kernel.bind(count, tops, level, chosen, taken, lanes)()
    kernel = compiled(lane.reaching, WARPS, kinds(maxima, maxima), SLOTS=slots, PIECE=PIECE)
    kernel.bind(count * -(-groups // PIECE), maxima, level, chosen, taken, groups)()
    return chosen, level


def warps_for(size: int) -> int:
    """Of a program that holds so many values at once."""
    return max(4, min(16, size // 512))
