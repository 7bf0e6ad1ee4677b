"""Candidates on a CPU in one pass over the rows: no score matrix is written, and the rows are read from memory once.

Each thread keeps for each query the best scores that it has met, and compares a tile's scores with the least of them
while they are in registers. The loop's machine code is kept on disk, see `numba_loop`.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.blocks.settle import Candidates
from mlsys.distance.threads import pool

STORED = (torch.float32, torch.float16, torch.bfloat16, torch.int8)  # in the order of `registers`
WORTH = 1 << 20  # elements of rows from which a pass pays for waking threads
SHARES = 4  # jobs a thread
LEAST_SHARE = 64  # rows
SPAN_BYTES = 256 << 10  # of rows that stay in the cache while all queries go over them
LARGEST_PART = 8  # with more than 1/8 of the rows as candidates nothing is left to be skipped
ROOM = 64  # scores of a query kept before the best are chosen, at least


def can(rows: torch.Tensor) -> bool:
    """Whether rows (N, d) are searched in one pass: on a CPU, not of float64, where there is Numba."""
    return rows.device.type == "cpu" and rows.dtype in STORED and _numba() is not None


def worth(rows: torch.Tensor) -> bool:
    """Whether there are enough rows for it."""
    return rows.numel() >= WORTH and len(rows) >= LEAST_SHARE


class OnePass:
    """Searches rows (N, d) whose scorer is given; keeps up to two float32 numbers a row."""

    def __init__(self, scorer: ProductScorer | MaximumScorer) -> None:
        self.rows = scorer.rows
        self.cityblock = isinstance(scorer, MaximumScorer)
        scale, bias = (None, None) if isinstance(scorer, MaximumScorer) else (scorer.scale, scorer.bias)
        self.scale = _float32(scale, -0.5 if self.cityblock else 1.0)
        self.bias = _float32(bias, 0.0)

    def propose(self, queries: torch.Tensor, m: int) -> Candidates | None:
        """The m best-scored rows of each query (Q, d); None where the pass is not made for them."""
        count = len(self.rows)
        jobs = min(SHARES * torch.get_num_threads(), count // LEAST_SHARE)
        if queries.dtype != torch.float32 or jobs < 1 or m * LARGEST_PART > count:
            return None
        height, width = _tile(len(queries))
        panels = _panels(queries, width)
        scan = _compiled(height, width, int(self.cityblock), STORED.index(self.rows.dtype))
        dim = self.rows.shape[1]
        span = max(1, SPAN_BYTES // (4 * dim * height)) * height
        size = panels[0].numel() * 4
        wide = 0 if self.rows.dtype == torch.float32 else (span + height) * dim
        factors = (*_place(self.scale), *_place(self.bias))
        bounds = [count * job // jobs for job in range(jobs + 1)]

        def work(best: _Best, job: int) -> None:
            scan(
                self.rows.data_ptr(), dim, bounds[job], bounds[job + 1], span,
                panels.data_ptr(), len(panels), size, *factors,
                best.scores, best.numbers, best.filled, best.least, best.wide, m,
            )  # fmt: skip

        found = _shared(work, jobs, lambda: _Best.of(len(queries), len(panels) * width, m, wide))
        return self._joined(found, queries, m)

    def _joined(self, found: list[_Best], queries: torch.Tensor, m: int) -> Candidates | None:
        """The best of all threads; None where rows that score -inf are among the nearest: zero vectors."""
        parts = [best.of_queries(len(queries)) for best in found]
        scores, numbers = (
            torch.from_numpy(np.concatenate(side, axis=1)) for side in zip(*parts, strict=True)
        )
        if scores.shape[1] < m:
            return None
        values, places = torch.topk(scores, m, dim=1, sorted=False)
        cut = values.amin(1).double()
        if not bool(torch.isfinite(cut).all()):
            return None
        if self.cityblock:
            cut -= queries.double().sum(1) / 2
        return Candidates(numbers.gather(1, places), cut)


@dataclass
class _Best:
    """What a thread has found: `scores` and `numbers` (queries, room), of which the first `filled` count."""

    scores: np.ndarray[Any, Any]
    numbers: np.ndarray[Any, Any]
    filled: np.ndarray[Any, Any]
    least: np.ndarray[Any, Any]
    wide: np.ndarray[Any, Any]

    @classmethod
    def of(cls, queries: int, lines: int, m: int, wide: int) -> _Best:
        """Empty, with room for `wide` float32; lines beyond the queries never find anything."""
        room = max(ROOM, 2 * m)
        least = np.full(lines, np.inf, np.float32)
        least[:queries] = -np.inf
        scores = np.empty((lines, room), np.float32)
        numbers, filled = np.empty((lines, room), np.int64), np.zeros(lines, np.int64)
        return cls(scores, numbers, filled, least, np.empty(wide, np.float32))

    def of_queries(self, queries: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        most = int(self.filled.max())
        scores, numbers = self.scores[:queries, :most], self.numbers[:queries, :most]
        scores[np.arange(most) >= self.filled[:queries, None]] = -np.inf
        return scores, numbers


def _shared(work: Callable[[_Best, int], None], jobs: int, empty: Callable[[], _Best]) -> list[_Best]:
    """Do all jobs on as many threads as torch has, this one among them; what each has found."""
    waiting = iter(range(jobs))

    def drain() -> _Best:
        best = empty()
        for job in waiting:
            work(best, job)
        return best

    threads = torch.get_num_threads()
    others = [pool("mlsys-search", threads).submit(drain) for _ in range(min(threads, jobs) - 1)]
    mine = drain()
    return [mine, *(other.result() for other in others if not other.cancel())]


def _tile(queries: int) -> tuple[int, int]:
    """How many rows and queries are scored at once, as many as the registers hold."""
    if queries == 1:
        return 8, 1
    if queries <= 8:
        return 12, 8
    if not _wide():
        return 6, 16
    return (12, 16) if queries <= 16 else (12, 32)


def _panels(queries: torch.Tensor, width: int) -> torch.Tensor:
    """Queries side by side, (panels, d, width), the last filled up with zeros."""
    count = -(-len(queries) // width)
    if count * width > len(queries):
        queries = torch.nn.functional.pad(queries, (0, 0, 0, count * width - len(queries)))
    return queries.view(count, width, -1).transpose(1, 2).contiguous()


def _float32(values: torch.Tensor | None, otherwise: float) -> torch.Tensor:
    return torch.tensor([otherwise], dtype=torch.float32, device="cpu") if values is None else values.float()


def _place(values: torch.Tensor) -> tuple[int, int]:
    """Where the number of the first row is, and how far the next; one stands for all."""
    return values.data_ptr(), 4 * (len(values) > 1)


@lru_cache(maxsize=1)
def _numba() -> Any:
    """Numba and the modules that need it; None where Numba is not there, or not for this NumPy."""
    try:
        import numba

        from mlsys.distance.search.compiled import loop, registers
    except ImportError:
        return None
    return numba, loop, registers


@lru_cache(maxsize=1)
def _wide() -> bool:
    """Whether there are registers of 16 float32, as far as Numba uses them."""
    from llvmlite.binding import get_host_cpu_features

    chosen = _numba()[0].config.CPU_FEATURES
    return "+avx512f" in (get_host_cpu_features().flatten() if chosen is None else chosen)


@lru_cache
def _compiled(height: int, width: int, cityblock: int, kind: int) -> Callable[..., None]:
    numba, loop, registers = _numba()
    function = loop.scanner(height, width, cityblock, kind)
    code = zlib.crc32(Path(registers.__file__).read_bytes())
    # the file's name in the cache: one for each loop, and for each state of what it calls
    function.__qualname__ = f"scan.{height}x{width}.{cityblock}.{kind}.{code:08x}"
    with contextlib.suppress(Exception):  # whatever is wrong with the cache: it is only a cache
        compiled: Callable[..., None] = numba.njit(loop.SIGNATURE, nogil=True, cache=True)(function)
        return compiled
    return numba.njit(loop.SIGNATURE, nogil=True)(function)  # type: ignore[no-any-return]
