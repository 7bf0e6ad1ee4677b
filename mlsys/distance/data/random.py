"""data=random: two independent vectors of standard normal numbers, the same for the same seed on every
machine."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from mlsys.distance.source import Source, count_nan
from mlsys.quantities import cores

BLOCK = 1 << 20


@dataclass(frozen=True)
class Random:
    """Standard normal numbers; int8: whole numbers from −127 to 127, all equally likely."""

    name: str = "random"

    def open(self, n: int, dtype: torch.dtype, seed: int) -> tuple[Source, Source]:
        """Two vectors of `n` elements. They are made when first read, and then lie in host memory."""
        return RandomSource(n, dtype, (seed, 0)), RandomSource(n, dtype, (seed, 1))


@dataclass
class RandomSource:
    """A random vector in host memory; blocks of it are drawn each from a seed of its own, by all threads."""

    n: int
    dtype: torch.dtype
    seed: tuple[int, int]
    start: int = 0  # of a longer vector; drawn is only this stretch of it
    _vector: torch.Tensor | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    in_memory = True  # once it has been drawn
    made_here = True  # it takes memory that was free before

    @property
    def description(self) -> str:
        """What it is, for the record."""
        kind = "standard normal" if self.dtype.is_floating_point else "uniform from -127 to 127"
        return f"{kind}, seed {self.seed[0]}"

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop into `out`."""
        out.copy_(self.tensor()[start:stop])

    def tensor(self) -> torch.Tensor:
        """The whole vector."""
        with self._lock:
            if self._vector is None:
                vector = torch.empty(self.n, dtype=self.dtype)
                with ThreadPoolExecutor(min(torch.get_num_threads(), cores())) as pool:
                    blocks = range(self.start // BLOCK, -(-(self.start + self.n) // BLOCK))
                    list(pool.map(lambda block: self._fill(vector, block), blocks))
                self._vector = vector
            return self._vector

    def nan_count(self) -> int:
        """None of them is nan."""
        return count_nan(self)

    def part(self, start: int, stop: int) -> Source:
        """The same elements start … stop, drawn without the others."""
        return RandomSource(stop - start, self.dtype, self.seed, self.start + start)

    def _fill(self, vector: torch.Tensor, block: int) -> None:
        """Draw what of a block belongs here; what comes before it in its block is drawn and left out."""
        first = block * BLOCK
        begin, end = max(first, self.start), min(first + BLOCK, self.start + self.n)
        out = vector[begin - self.start : end - self.start]
        if begin == first:
            self._draw(out, block)
            return
        drawn = torch.empty(end - first, dtype=self.dtype)
        self._draw(drawn, block)
        out.copy_(drawn[begin - first :])

    def _draw(self, out: torch.Tensor, block: int) -> None:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((*self.seed, block))))
        if self.dtype == torch.float64:
            generator.standard_normal(len(out), out=out.numpy())
        elif self.dtype.is_floating_point:
            out.copy_(torch.from_numpy(generator.standard_normal(len(out), np.float32)))
        else:
            out.copy_(torch.from_numpy(generator.integers(-127, 128, len(out), np.int8)))
