"""The benchmark of `workload=pairs`: distances of pairs of random rows, and their gradient, beside how others do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from mlsys import progress
from mlsys.distance import distance
from mlsys.distance.definition import define
from mlsys.distance.metrics import Metric, get
from mlsys.distance.rivals import Rival, check_names, ready, relative_error, timed
from mlsys.distance.rows.rivals import PEERS, Problem, best_of_torch
from mlsys.distance.search.benchmark import STORAGES
from mlsys.errors import UserError
from mlsys.quantities import whole
from mlsys.record import Results, Scalar
from mlsys.timing import Clock, copy_bandwidth_gbps

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class PairsBenchmark:
    """Measures the distances of `rows` pairs of normal random rows of `dim` elements.

    Args:
        metric: one that states a definition.
        elements: rows · dim; where it is given it says how many rows there are.
        storage: float32, float16 or bfloat16.
        one: y is one row, with which all of x are compared.
        backward: the gradient too, once of x and y together; beside torch's own function under autograd.
        peers: names of `rivals.PEERS`; those that cannot compute this are left out, with the reason.
        reference_rows: how many rows are compared with the definition in float64.
        repeats, warmup, time_limit_s: see `timing.Clock`.
    """

    metric: str | Metric
    rows: float
    dim: int
    elements: float | None
    storage: str
    one: bool
    backward: bool
    device: torch.device
    repeats: int
    warmup: int
    time_limit_s: float
    seed: int
    peers: list[str] = field(default_factory=lambda: ["torch"])
    reference_rows: int = 1000
    kind: str = "pairs"

    def __post_init__(self) -> None:
        self.metric = get(self.metric)
        self.metric.stated()
        if self.dim < 1:
            raise UserError(f"pairs.dim={self.dim} must be at least 1")
        if self.elements is not None:
            elements = whole("pairs.elements", self.elements)
            if elements < self.dim:
                raise UserError(
                    f"pairs.elements={elements} must be at least pairs.dim={self.dim}, which is one row"
                )
            self.rows = elements // self.dim
        self.rows = whole("pairs.rows", self.rows)
        for name, value in (("rows", self.rows), ("reference_rows", self.reference_rows)):
            if value < 1:
                raise UserError(f"pairs.{name}={value} must be at least 1")
        if self.storage not in STORAGES:
            raise UserError(f"pairs.storage={self.storage} must be one of {', '.join(STORAGES)}")
        check_names("pairs.peers", self.peers, PEERS)

    def measure(self) -> Iterator[Results]:
        """Conditions and correctness first, then the timings in turn, then those of the gradient."""
        with progress.step(f"making {self.rows:.4g} pairs of {self.dim} {self.storage}"):
            problem = self._problem()
        yield Results(self._conditions(problem))
        call = partial(distance, metric=problem.metric, dim=-1)
        with progress.step("comparing with the definition in float64"):
            error = self._judge(problem)
            own = error(call(problem.x, problem.y))
            rivals, values = ready(self.peers, PEERS, problem, error)
        yield Results({"relative_error": own, **values})
        clock = Clock(self.device, self.repeats, self.warmup, self.time_limit_s, _bytes(problem))
        with progress.step(f"timing {problem.metric.name} of rows beside {', '.join(rivals) or 'nothing'}"):
            found = timed(clock, lambda: call(problem.x, problem.y), rivals)
            yield Results({**found.values, **self._rates(problem, found.values)}, found.samples)
        if self.backward:
            with progress.step("timing the gradient beside torch's autograd"):
                yield from self._gradients(clock, call, problem)

    def _problem(self) -> Problem:
        generator = torch.Generator(self.device).manual_seed(self.seed)
        x, y = (
            torch.randn(int(count), self.dim, generator=generator, device=self.device).to(
                getattr(torch, self.storage)
            )
            for count in (self.rows, 1 if self.one else self.rows)
        )
        return Problem(x, y, get(self.metric))

    def _conditions(self, problem: Problem) -> dict[str, Scalar]:
        on_gpu = self.device.type == "cuda"
        return {
            "rows": int(self.rows),
            "dim": self.dim,
            "storage": self.storage,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "bytes_read": _bytes(problem),
        }

    def _judge(self, problem: Problem) -> Callable[[Any], float]:
        """The largest relative error of a result on some rows, by the metric's own scale."""
        count = min(self.reference_rows, len(problem.x))
        some = torch.linspace(0, len(problem.x) - 1, count).long()
        x = problem.x[some.to(problem.x.device)].double().cpu()
        y = (problem.y if self.one else problem.y[some.to(problem.y.device)]).double().cpu()
        words: dict[str, Any] = {"sum": lambda terms: terms.sum(-1), "abs": torch.abs, "sqrt": torch.sqrt}
        wanted = define(problem.metric.stated()).lines(x, y, **words)
        scale = define(problem.metric.scale).lines(x, y, value=wanted, **words)
        return lambda found: relative_error(torch.as_tensor(found).cpu()[some], wanted, scale)

    def _rates(self, problem: Problem, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        latency_ms, copy = float(values["latency_ms"] or 0), copy_bandwidth_gbps(self.device)
        bandwidth = _bytes(problem) / latency_ms / 1e6
        return {
            "bandwidth_gbps": bandwidth,
            "copy_bandwidth_gbps": copy,
            "copy_share": bandwidth / copy,
            "pairs_per_s": 1e3 * self.rows / latency_ms,
        }

    def _gradients(self, clock: Clock, call: Call, problem: Problem) -> Iterator[Results]:
        """Backward alone, with the graph kept, and forward with backward, each beside torch's autograd."""
        x, y = (rows.detach().requires_grad_() for rows in (problem.x, problem.y))
        function, expression = best_of_torch(problem.metric)
        weight = torch.ones(len(x), dtype=torch.float32, device=x.device)

        def step(forward: Call) -> tuple[torch.Tensor, ...]:
            value = forward(x, y)
            return torch.autograd.grad(value, (x, y), weight.to(value.dtype))

        def backward(forward: Call) -> Callable[[], object]:
            value = forward(x, y)
            grown = weight.to(value.dtype)
            return lambda: torch.autograd.grad(value, (x, y), grown, retain_graph=True)

        ours, theirs = step(call)[0].double(), step(function)[0].double()
        apart = float((ours - theirs).abs().max() / ours.abs().max())
        yield Results({"gradient_difference": apart, "baseline.autograd.expression": expression})
        yield timed(clock, backward(call), {"autograd": Rival(backward(function), expression)}, "backward")
        rival = Rival(lambda: step(function), expression)
        yield timed(clock, lambda: step(call), {"autograd": rival}, "step")


def _bytes(problem: Problem) -> int:
    """The fewest bytes that must be read: each row once."""
    return problem.x.nbytes + problem.y.nbytes
