"""How vectors are cut for a card that nobody has measured: a small model of its memory and its processors.

Three rules. Each processor gets a few programs, so that all have work to the end. Vectors of many such rounds are
loaded ahead: a program has so many bytes under way as its processor's share of the memory delivers while one load takes
its time (Little's law). Shorter ones are read in tiles of two loads a thread. `experiments/h100_distance` has what that
costs on cards that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.roofline import peaks

LATENCY_NS = 1000.0  # of a load while all processors load
PROGRAMS = 4  # a processor, over the whole vector
ROUNDS = 2  # of so many programs of the largest segments: from there on loads are pipelined
STAGES = 3  # tiles of each vector that a program then has room for; all but one are under way
SMALLEST, LARGEST_TILE, LARGEST_SEGMENT = 2048, 32768, 65536  # bytes
TWO_LOADS = 4096  # bytes: of 16 for each thread of the fewest warps
KEPT_BYTES = 2**24  # longer vectors are not kept in a cache
USUAL_GBPS_A_PROCESSOR = 10.0  # where the card's memory is not known


@dataclass(frozen=True)
class Settings:
    """How a vector is cut: `tiles` tiles of `tile_bytes` of each vector are one program's segment.

    `warps` run a program; `stages` above 1 pipelines its loads; `evict_first` keeps the stream out of the
    cache.
    """

    tile_bytes: int = 32768
    tiles: int = 4
    warps: int = 8
    stages: int = 1
    evict_first: bool = False

    def segment_n(self, itemsize: int) -> int:
        """Elements in a segment."""
        return self.tile_n(itemsize) * self.tiles

    def tile_n(self, itemsize: int) -> int:
        """Elements in a tile."""
        return self.tile_bytes // itemsize


@dataclass(frozen=True)
class Card:
    """What the model knows of a card: its multiprocessors, and its memory's rate in 1e9 bytes/s."""

    processors: int
    bandwidth_gbps: float

    def __str__(self) -> str:
        return f"{self.processors} processors, {self.bandwidth_gbps:g} GB/s"


def card(device: torch.device) -> Card:
    """A GPU's: the rate from the table of cards, else from its memory's clock and width, else the usual one."""
    properties = torch.cuda.get_device_properties(device)
    processors = properties.multi_processor_count
    known = peaks.card(properties.name, "float32").bandwidth_gbps
    width, clock_khz = (getattr(properties, name, 0) for name in ("memory_bus_width", "memory_clock_rate"))
    told = 2 * clock_khz * 1e3 * width / 8 / 1e9
    return Card(processors, known or round(told) or USUAL_GBPS_A_PROCESSOR * processors)


def settings(card: Card, vector_bytes: int) -> Settings:
    """The cut of two vectors of `vector_bytes` each."""
    segment = _power(vector_bytes / (PROGRAMS * card.processors), SMALLEST, LARGEST_SEGMENT)
    pipelined = vector_bytes >= ROUNDS * PROGRAMS * card.processors * LARGEST_SEGMENT
    under_way = card.bandwidth_gbps * LATENCY_NS / card.processors
    tile = _power(under_way / (2 * (STAGES - 1)), SMALLEST, LARGEST_TILE) if pipelined else TWO_LOADS
    tile = min(segment, tile)
    warps = min(max(tile // 1024, 4), 16)
    return Settings(tile, segment // tile, warps, STAGES if pipelined else 1, vector_bytes > KEPT_BYTES)


def _power(size: float, least: int, most: int) -> int:
    """The power of two next to `size`, from `least` to `most`; both are powers of two."""
    found = least
    while found < most and found * 2**0.5 < size:
        found *= 2
    return found
