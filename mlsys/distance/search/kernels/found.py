"""What the kernels pass on: queries with the maxima of their groups, and what was found from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mlsys.distance.search.kernels.tiles import Tile


@dataclass(frozen=True)
class Scored:
    """Queries (Q, d), what was scored in their place, and their group maxima (Q, groups) float32.

    limits: what the maxima can be wrong by, see `maxima.limits`.
    """

    queries: torch.Tensor
    cast: torch.Tensor
    maxima: torch.Tensor
    tile: Tile
    limits: torch.Tensor

    def lines(self, lines: torch.Tensor) -> Scored:
        """Of some of the queries, by their numbers (n,) int64."""
        return replace(self, queries=self.queries[lines], cast=self.cast[lines], maxima=self.maxima[lines])


@dataclass(frozen=True)
class Nearest:
    """What the kernels found, (Q, k): float64 keys, see `ranking`, float32 distances, int64 row numbers.

    Where `status` (Q,) is not 0 the line is not certain. The kernels write it into the host's memory, once and last of
    all, since the host may go on when it has seen it. Else read it after the stream has been waited for. `scored` is
    what it was found from, `taken` groups of each line. `flat` holds distances and row numbers, so that one copy takes
    both: see `parts`.
    """

    keys: torch.Tensor
    flat: torch.Tensor
    distances: torch.Tensor
    index: torch.Tensor
    status: torch.Tensor
    scored: Scored
    taken: int

    @classmethod
    def empty(cls, scored: Scored, k: int, taken: int, status: torch.Tensor) -> Nearest:
        """Room for the k nearest of each query."""
        count, device = len(scored.queries), scored.queries.device
        places = count * k + count * k % 2
        flat = torch.empty(places + places // 2, dtype=torch.int64, device=device)
        keys = torch.empty(count, k, dtype=torch.float64, device=device)
        return cls(keys, flat, *parts(flat, count, k), status, scored, taken)


def parts(flat: torch.Tensor, count: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances (count, k) float32 and row numbers (count, k) int64 that lie in `flat`, the numbers first."""
    start = 2 * (count * k + count * k % 2)
    distances = flat.view(torch.float32).as_strided((count, k), (k, 1), start)
    return distances, flat.as_strided((count, k), (k, 1))
