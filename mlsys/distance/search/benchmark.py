"""The search benchmark: one exact search of fresh random rows, measured beside how others do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from mlsys import progress
from mlsys.distance import distributed
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric, get
from mlsys.distance.search import spread
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels.screen import may_screen
from mlsys.distance.search.kernels.tiles import is_screened
from mlsys.distance.search.peers import PEERS, Peer, Problem
from mlsys.distance.search.peers.trial import tried
from mlsys.distance.search.random_rows import QUERIES, ROWS, drawn
from mlsys.distance.search.ranking import ranking
from mlsys.distance.search.reference import recall
from mlsys.distance.search.sharded import ShardedIndex
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.errors import UserError
from mlsys.quantities import whole
from mlsys.ranks import SINGLE, Group
from mlsys.record import Results, Scalar
from mlsys.timing import Clock, Timing, copy_bandwidth_gbps

Searcher = Index | StreamedIndex | ShardedIndex
STORAGES = ("float32", "float16", "bfloat16")
FADDS_A_TERM, LANES = 2, 128  # of l1; float32 additions a clock of one processor of a GPU


@dataclass
class SearchBenchmark:
    """Measures the exact k nearest of `rows` normal random rows (rows, dim) to `queries` queries.

    Args:
        metric: one that states a form of search and a definition.
        storage: float32, float16 or bfloat16.
        screen: none or int8, see `Index`.
        peers: names of `peers.PEERS`; those that cannot compute this are left out, with the reason.
        reference_queries: for how many queries the answer is compared with a float64 search of every row.
        repeats, warmup, time_limit_s: see `timing.Clock`.
        placement: `host` leaves the rows in host memory and streams them within `memory_budget` bytes of the GPU's.
        group: the ranks over which the rows are spread; each makes, searches and checks only its own stretch.
    """

    metric: str | Metric
    queries: float
    rows: float
    dim: int
    k: int
    storage: str
    device: torch.device
    repeats: int
    warmup: int
    time_limit_s: float
    seed: int
    peers: list[str] = field(default_factory=lambda: list(PEERS))
    reference_queries: int = 4
    screen: str = "none"
    threads: int | None = None
    placement: str = "device"
    memory_budget: int = 1 << 30
    group: Group = SINGLE
    kind: str = "search"

    def __post_init__(self) -> None:
        self.queries, self.rows = whole("search.queries", self.queries), whole("search.rows", self.rows)
        self.metric = get(self.metric)
        self.metric.stated()
        self._form = ranking(self.metric).name
        for name, value in (("dim", self.dim), ("k", self.k), ("reference_queries", self.reference_queries)):
            if value < 1:
                raise UserError(f"search.{name}={value} must be at least 1")
        if self.k > self.rows:
            raise UserError(f"search.k={self.k} must be at most search.rows={self.rows}")
        if self.storage not in STORAGES:
            raise UserError(f"search.storage={self.storage} must be one of {', '.join(STORAGES)}")
        self._check_screen()
        for peer in self.peers:
            if peer not in PEERS:
                raise UserError(f"search.peers=[{peer}] is not a peer; there are: {', '.join(PEERS)}")

    def _check_screen(self) -> None:
        if self.screen != "none" and self.placement == "host":
            raise UserError(f"search.screen={self.screen} takes rows on the GPU, not placement=host")
        method = "blocks" if why_not(self.device.type) else "kernels"
        rows = torch.empty(1, self.dim, dtype=getattr(torch, self.storage), device="meta")
        try:
            may_screen(self.screen, method, self._form, rows)
        except UserError as error:
            raise UserError(f"search.{error}") from None

    def measure(self) -> Iterator[Results]:
        """Conditions and correctness first, then all timings, each search and its peers in turn."""
        with progress.step(f"making {self.rows:.4g} rows of {self.dim} {self.storage}"):
            problem = self._problem()
            self.group.exchange("ready")  # whoever could not make its rows says so before the others search
            index = self._index(problem.rows)
            found = index.search(problem.queries, self.k)[1].cpu().numpy()
        yield Results(self._conditions(index))
        count = min(self.reference_queries, int(self.queries))
        with progress.step(f"searching every row in float64 for {count} queries"):
            sample = np.linspace(0, len(found) - 1, count).astype(int)
            some = problem.queries[sample.tolist()]
            wanted = spread.reference_rows(
                some, problem.rows, self.k, self.metric, self._bounds[0], self.group
            )
        exact = bool((found[sample] == wanted).all())
        yield Results(
            {"recall": recall(found[sample], wanted), "index_equal": exact, "reference_queries": count}
        )
        yield self._timings(problem, index, sample, wanted)

    @property
    def _bounds(self) -> tuple[int, int]:
        """The first of this rank's rows, and the first of the next's."""
        return distributed.bounds(int(self.rows), self.group.rank, self.group.size)

    def _problem(self) -> Problem:
        device = torch.device("cpu") if self.placement == "host" else self.device
        make = partial(drawn, dim=self.dim, dtype=getattr(torch, self.storage), device=device, seed=self.seed)
        return Problem(make(QUERIES, 0, int(self.queries)), make(ROWS, *self._bounds), self.k, self._form)

    def _index(self, rows: torch.Tensor) -> Searcher:
        def index(part: torch.Tensor, metric: str | Metric) -> Index | StreamedIndex:
            if self.placement == "host":
                return StreamedIndex(part, metric, self.device, self.memory_budget)
            return Index(part, metric, screen=self.screen)

        if self.group.size > 1:
            return ShardedIndex(rows, self.metric, self.group.data, index)
        return index(rows, self.metric)

    def _conditions(self, index: Searcher) -> dict[str, Scalar]:
        part = index.part if isinstance(index, ShardedIndex) else index
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "queries": int(self.queries),
            "rows": int(self.rows),
            "dim": self.dim,
            "k": self.k,
            "storage": self.storage,
            "device": self.device.type,
            "device_name": name,
            "placement": self.placement,
            "method": index.method,
            "threads": torch.get_num_threads(),
            **(
                {
                    "screen": self.screen,
                    "screen_bytes": part.screen_bytes,
                    "screened": self._screened,
                    "doubtful_queries": part.doubtful,
                    "rescanned_queries": part.rescanned,
                }
                if isinstance(part, Index)
                else {}
            ),
            **(
                {"stream.chunk_rows": part.chunk, "stream.device_bytes": part.device_bytes}
                if isinstance(part, StreamedIndex)
                else {}
            ),
            **(spread.conditions(int(self.rows), name, self.group) if self.group.size > 1 else {}),
        }

    def _timings(self, problem: Problem, index: Searcher, sample: Any, wanted: Any) -> Results:
        peers, values = self._peers(problem, sample, wanted)
        calls = {"search": lambda: index.search(problem.queries, self.k)}
        calls |= {name: peer.call for name, peer in peers.items()}
        clock = Clock(
            self.device, self.repeats, self.warmup, self.time_limit_s, problem.rows.nbytes, self.group
        )
        with progress.step(f"timing {self._form} search beside {', '.join(peers) or 'nothing'}"):
            alone = {name for name, peer in peers.items() if peer.own_stream}
            times = clock.cold({name: call for name, call in calls.items() if name not in alone})
            walls = clock.wall(calls)
        ours, wall = times.pop("search"), walls.pop("search")
        values |= ours.quartiles("latency_ms") | wall.quartiles("wall_ms")
        values["bandwidth_gbps"] = self._rows_bytes(problem) / ours.median_ms / 1e6
        values["queries_per_s"] = 1e3 * self.queries / ours.median_ms
        samples = {"latency_ms": ours.samples_ms, "wall_ms": wall.samples_ms}
        for name in peers:
            for figure, gain, found, our in (
                ("latency_ms", "speedup", times, ours),
                ("wall_ms", "wall_speedup", walls, wall),
            ):
                if name in found:
                    values |= found[name].quartiles(f"baseline.{name}.{figure}")
                    values[f"{gain}.{name}"] = found[name].median_ms / our.median_ms
                    samples[f"baseline.{name}.{figure}"] = found[name].samples_ms
        values |= self._limits(problem, ours.median_ms, times.get("torch_matmul"))
        return Results(values, samples)

    def _peers(self, problem: Problem, sample: Any, wanted: Any) -> tuple[dict[str, Peer], dict[str, Scalar]]:
        if self.group.size > 1:
            reason = f"it searches in one process, and the rows are spread over {self.group.size} ranks"
        elif problem.rows.device.type != self.device.type:
            reason = "the rows are in host memory"
        else:
            return tried(self.peers, problem, sample, wanted)
        return {}, {f"baseline.{name}.error": f"{name}: {reason}" for name in self.peers}

    def _limits(self, problem: Problem, latency_ms: float, matmul: Timing | None) -> dict[str, Scalar]:
        """The fewest bytes and operations, what they take at this machine's own rates, and which is more."""
        read = self._rows_bytes(problem) + problem.queries.nbytes
        terms = self.queries * self.rows * self.dim
        copy = copy_bandwidth_gbps(self.device, group=self.group)
        limits = {"memory": read / copy / 1e6}
        if matmul is not None:
            limits["matrix product"] = matmul.median_ms
        elif self._form == "l1" and self.device.type == "cuda":
            limits["additions"] = FADDS_A_TERM * terms / self.group.size / _additions_per_ms(self.device)
        bound = max(limits, key=lambda name: limits[name])
        values: dict[str, Scalar] = {"bytes_read": read, "flops": 2 * terms, "copy_bandwidth_gbps": copy}
        values |= {f"limit.{name.replace(' ', '_')}_ms": limit for name, limit in limits.items()}
        return {**values, "bound": bound, "bound_share": limits[bound] / latency_ms}

    def _rows_bytes(self, problem: Problem) -> int:
        """Of all ranks' rows, as a search reads them once: of the int8 copy where that is screened."""
        return int(self.rows) * self.dim * (1 if self._screened else problem.rows.dtype.itemsize)

    @property
    def _screened(self) -> bool:
        """Whether the int8 copy proposes these neighbours; where there are many queries the rows themselves do."""
        itemsize = getattr(torch, self.storage).itemsize
        return self.screen == "int8" and is_screened(int(self.queries), self.k, itemsize)


def _additions_per_ms(device: torch.device) -> int:
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count * LANES * int(getattr(properties, "clock_rate", 1_980_000))
