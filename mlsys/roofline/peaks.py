"""What a device can do at most: a card's datasheet, or for a CPU what this process measures of itself."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mlsys.record import Scalar

CARDS = Path(__file__).with_name("cards.yaml")
READ_FLOATS = 1 << 25  # 128 MiB: more than the caches that one core reaches
PRODUCT = 512
TRIES = 3


@dataclass(frozen=True)
class Peaks:
    """`bandwidth_gbps`: 1e9 bytes/s; `tflops`: 1e12 operations/s in the model's dtype. None: not known."""

    bandwidth_gbps: float | None
    tflops: float | None
    source: str

    def describe(self) -> dict[str, Scalar]:
        """For the record."""
        return {
            "peak.bandwidth_gbps": self.bandwidth_gbps,
            "peak.tflops": self.tflops,
            "peak.source": self.source,
        }


def of(device: str, dtype: str) -> Peaks:
    """Those of the device that a model of `dtype` is on."""
    import torch

    if device.startswith("cuda"):
        return card(torch.cuda.get_device_name(device), dtype)
    found = cpu(torch.get_num_threads())
    return (
        found if dtype == "float32" else replace(found, tflops=None)
    )  # another dtype's peak was not measured


def card(name: str, dtype: str) -> Peaks:
    """What the table says of the card that the driver calls `name`."""
    for row in _cards():
        if re.search(rf"\b{re.escape(row['name'])}\b", name):
            tflops = row.get(dtype, row["bfloat16"] if dtype == "float16" else None)
            return Peaks(row["bandwidth_gbps"], tflops, row["source"])
    return Peaks(None, None, f"unknown: {name} is not in the table of cards")


@functools.cache
def _cards() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load(CARDS.read_text())
    return rows


@functools.cache
def cpu(threads: int) -> Peaks:
    """Reading memory, and a float32 product that fits a cache, with torch's threads; once in a process, some 0.1 s."""
    import torch

    floats = torch.ones(READ_FLOATS)
    square = torch.ones((PRODUCT, PRODUCT))
    read_s = _fastest(lambda: floats.sum())
    product_s = _fastest(lambda: square @ square)
    return Peaks(
        round(4 * READ_FLOATS / read_s / 1e9, 2),
        round(2 * PRODUCT**3 / product_s / 1e12, 4),
        f"measured as it was loaded, {threads} threads: reading 128 MiB, a float32 product of {PRODUCT}",
    )


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some tries, the first of which is not counted."""
    found = []
    for _ in range(TRIES + 1):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found[1:])
