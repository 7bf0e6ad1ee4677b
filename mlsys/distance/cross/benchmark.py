"""The benchmark of `workload=cdist`: the distances of all pairs of random rows, beside how others compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from mlsys import progress
from mlsys.distance import cdist
from mlsys.distance.cross.rivals import PEERS, Problem
from mlsys.distance.definition import define
from mlsys.distance.metrics import Metric, get
from mlsys.distance.rivals import check_names, ready, relative_error, timed
from mlsys.distance.search.benchmark import STORAGES
from mlsys.errors import UserError
from mlsys.quantities import whole
from mlsys.record import Results, Scalar
from mlsys.timing import Clock

CLOSE = 1e-4  # how far a near row lies from its original, as a share


@dataclass
class CdistBenchmark:
    """Measures the distances of `queries` rows to `rows` rows of `dim` normal random elements.

    Args:
        metric: one that states a definition.
        storage: float32, float16 or bfloat16.
        near: the share of x's rows that are a row of y but for the last digits.
        peers: names of `rivals.PEERS`; those that cannot compute this are left out, with the reason.
        reference_rows: how many rows of x are compared with the definition in float64.
        repeats, warmup, time_limit_s: see `timing.Clock`.
    """

    metric: str | Metric
    queries: float
    rows: float
    dim: int
    storage: str
    near: float
    device: torch.device
    repeats: int
    warmup: int
    time_limit_s: float
    seed: int
    peers: list[str] = field(default_factory=lambda: ["torch_cdist", "torch_float64", "scipy"])
    reference_rows: int = 64
    kind: str = "cdist"

    def __post_init__(self) -> None:
        self.metric = get(self.metric)
        self.metric.stated()
        self.queries, self.rows = whole("cdist.queries", self.queries), whole("cdist.rows", self.rows)
        for name in ("queries", "rows", "dim", "reference_rows"):
            if getattr(self, name) < 1:
                raise UserError(f"cdist.{name}={getattr(self, name)} must be at least 1")
        if self.storage not in STORAGES:
            raise UserError(f"cdist.storage={self.storage} must be one of {', '.join(STORAGES)}")
        if not 0 <= self.near <= 1:
            raise UserError(f"cdist.near={self.near} must be from 0 to 1")
        check_names("cdist.peers", self.peers, PEERS)

    def measure(self) -> Iterator[Results]:
        """Conditions and correctness first, then all timings, ours and the peers in turn."""
        metric = get(self.metric)
        with progress.step(
            f"making {self.queries:.4g} and {self.rows:.4g} rows of {self.dim} {self.storage}"
        ):
            problem = self._problem(metric)
        yield Results(self._conditions(problem))
        with progress.step("comparing with the definition in float64"):
            error = self._judge(problem, metric)
            own = error(cdist(problem.x, problem.y, metric))
            rivals, values = ready(self.peers, PEERS, problem, error)
        yield Results({"relative_error": own, **values})
        moved = problem.x.nbytes + problem.y.nbytes
        clock = Clock(self.device, self.repeats, self.warmup, self.time_limit_s, moved)
        with progress.step(f"timing {metric.name} of all pairs beside {', '.join(rivals) or 'nothing'}"):
            found = timed(clock, lambda: cdist(problem.x, problem.y, metric), rivals)
        pairs = self.queries * self.rows
        rate = 1e3 * pairs / float(found.values["latency_ms"] or 0)
        yield Results({**found.values, "pairs_per_s": rate, "terms_per_s": rate * self.dim}, found.samples)

    def _problem(self, metric: Metric) -> Problem:
        generator = torch.Generator(self.device).manual_seed(self.seed)
        x, y = (
            torch.randn(int(count), self.dim, generator=generator, device=self.device)
            for count in (self.queries, self.rows)
        )
        near = min(round(self.near * self.queries), len(y))
        x[:near] = y[:near] * (1 + CLOSE * x[:near])
        storage = getattr(torch, self.storage)
        return Problem(x.to(storage), y.to(storage), metric.name)

    def _conditions(self, problem: Problem) -> dict[str, Scalar]:
        on_gpu = self.device.type == "cuda"
        return {
            "queries": int(self.queries),
            "rows": int(self.rows),
            "dim": self.dim,
            "storage": self.storage,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "bytes_read": problem.x.nbytes + problem.y.nbytes,
            "result_bytes": int(self.queries * self.rows) * 4,
        }

    def _judge(self, problem: Problem, metric: Metric) -> Callable[[Any], float]:
        """The largest relative error of a result on some of x's rows, by the metric's own scale."""
        count = min(self.reference_rows, len(problem.x))
        some = torch.linspace(0, len(problem.x) - 1, count).long()
        x, y = problem.x[some.to(problem.x.device)].double().cpu(), problem.y.double().cpu()
        words: dict[str, Any] = {"sum": lambda terms: terms.sum(-1), "abs": torch.abs, "sqrt": torch.sqrt}
        value, scale = define(metric.stated()), define(metric.scale)
        wanted = torch.stack([value.lines(row, y, **words) for row in x])
        pairs = zip(x, wanted, strict=True)
        scales = torch.stack([scale.lines(row, y, value=near, **words) for row, near in pairs])
        return lambda found: relative_error(torch.as_tensor(found).cpu()[some], wanted, scales)
