"""reduction=auto: the fastest one for the device and the length, by measured crossover."""

from __future__ import annotations

from dataclasses import dataclass

from mlsys.distance import reductions, tuning_table
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape


@dataclass(frozen=True)
class Auto:
    """Chooses `blocked` on a CPU and a Triton reduction on a GPU."""

    name: str = "auto"

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Start the chosen reduction; its name is the one that runs."""
        return reductions.get(choose(shape)).start(shape, metric)


def choose(shape: Shape) -> str:
    """Name of the reduction for `shape`."""
    return "blocked" if shape.device.type == "cpu" else tuning_table.fastest(shape.device, shape.n)
