"""The search for plans: each way to serve with as few replicas as hold the limit, simulated in virtual time.

A way cannot do with fewer replicas than its largest batches can serve, back to back. From there on replicas are added
until the limit holds, or until three other ways are cheaper already. So few are simulated that cannot be among the
three.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlsys import progress
from mlsys.plan.candidate import Candidate, configured
from mlsys.plan.known import Known
from mlsys.plan.objective import Objective
from mlsys.plan.ways import KINDS, ways
from mlsys.report.rows import finite
from mlsys.virtual.simulate import library, simulate

PLANS = 3
STEP = 1.1  # replicas are added one by one, or a tenth where there are many
SLOT = 0.95  # of the slot that the limit leaves to replicas that take turns
MORE = (1.1, 1.25, 1.5)  # times the rate, to see how much a plan has to spare
FRONTIER = (1.0, 1.5, 2.0)  # times the replicas of the cheapest plan, to see what more would bring
ALIKE = 1.05  # times the lowest latency is as good
MOST_SIMULATED = 8  # replicas; of more the same share of the rate goes to so many
ROUNDS = 12  # times the limit is simulated at least, for requests that come within one batch tell little
MOST_REQUESTS = 12_000
BUDGET_S = 40.0


@dataclass(frozen=True)
class Outcome:
    """A candidate as simulated. `low_ms` to `high_ms`: where the percentile lies, by sample and model.

    `share`: of all requests, how many were within the limit. `holds`: that, and all of the interval.
    """

    candidate: Candidate
    known: Known
    latency_ms: float
    low_ms: float
    high_ms: float
    share: float
    batch_mean: float | None
    batch_max: int
    holds: bool
    spare: float | None = None  # times the rate that still hold
    survives: bool | None = None  # with one replica less


@dataclass
class Search:
    """`rate_rps` of independent users, `objective` for them, records that say what serving costs."""

    rate_rps: float
    objective: Objective
    records: Sequence[Known]
    most_replicas: int
    said: Callable[[str], None]
    budget_s: float = BUDGET_S

    def __post_init__(self) -> None:
        self.tried: list[Outcome] = []
        self.ended_early = False
        self._began = time.perf_counter()

    def run(self) -> list[Outcome]:
        """The cheapest plan of each kind that holds, at most three, with what each has to spare."""
        found = sorted(ways(self.records, self.objective), key=lambda way: self._least(*way))
        for known, way in found:
            self._cheapest(known, way)
        plans = [self._with_spare(plan) for plan in self._best()[:PLANS]]
        for plan in plans[:1]:
            self._frontier(plan)
        return plans

    def _best(self) -> list[Outcome]:
        """Of each kind the plan with the fewest replicas, of those the fastest, of those alike the plainest."""
        fewest: dict[int, list[Outcome]] = {}
        for one in self.tried:
            if one.holds:
                fewest.setdefault(one.candidate.replicas, []).append(one)
        kinds: dict[str, Outcome] = {}
        for _, same in sorted(fewest.items()):
            fastest = min(one.latency_ms for one in same)
            for one in sorted(same, key=lambda one: _order(one, ALIKE * fastest)):
                kinds.setdefault(one.candidate.kind, one)
        return list(kinds.values())

    def _frontier(self, plan: Outcome) -> None:
        """What more replicas would bring."""
        for share in FRONTIER:
            replicas = max(plan.candidate.replicas + 1, math.ceil(share * plan.candidate.replicas))
            if plan.candidate.replicas < replicas <= self.most_replicas and not self.late():
                known = [
                    one.candidate.replicas for one in self.tried if one.candidate.kind == plan.candidate.kind
                ]
                if replicas not in known:
                    self.simulate(plan.known, replace(plan.candidate, replicas=replicas))

    def late(self) -> bool:
        """Whether the search has taken its time."""
        return time.perf_counter() - self._began > self.budget_s

    def _least(self, known: Known, way: Candidate) -> int:
        """Fewer replicas cannot serve the rate, whatever they do."""
        if way.mode == "continuous":
            return way.replicas
        most = int(dict(way.knobs).get("batching.max_size", 1))
        best = max(size / known.cost_ms(size) for size in range(1, most + 1))
        return max(way.replicas, math.floor(self.rate_rps / 1e3 / best) + 1)

    def least(self) -> dict[str, int]:
        """Of each kind how many replicas it cannot do without."""
        return {way.kind: self._least(known, way) for known, way in ways(self.records, self.objective)}

    def _cheapest(self, known: Known, way: Candidate) -> None:
        """Add replicas until the limit holds."""
        if known.cost_ms(1) > self.objective.limit_ms:
            return
        replicas = self._least(known, way)
        while replicas <= self._worth(way.kind):
            if self.late():
                self.ended_early = True
                return
            one = replace(way, replicas=replicas)
            if self._is_alike(one) or self.simulate(known, one).holds:
                return
            replicas = max(replicas + 1, math.ceil(replicas * STEP))

    def _is_alike(self, one: Candidate) -> bool:
        """Whether it would be served as one that holds: batches that never grew so large are the same batches."""
        size = dict(one.knobs).get("batching.max_size", 0)
        return any(
            tried.holds and tried.batch_max <= size
            for tried in self.tried
            if (tried.candidate.kind, tried.candidate.replicas) == (one.kind, one.replicas)
        )

    def _worth(self, kind: str) -> int:
        """With more replicas a way is not among the three cheapest."""
        best = self._best()
        same = [one.candidate.replicas for one in best if one.candidate.kind == kind]
        if same:
            return min(same)
        return best[PLANS - 1].candidate.replicas if len(best) >= PLANS else self.most_replicas

    def overrides(self, candidate: Candidate, rate_rps: float | None = None) -> dict[str, Any]:
        """What to choose for the candidate under the load."""
        found: dict[str, Any] = candidate.overrides
        if found.get("balancer") == "staggered":
            slot_ms = round(SLOT * self.objective.limit_ms / (candidate.replicas + 1), 1)
            found |= {"balancer.slot_ms": slot_ms, "batching.timeout_ms": slot_ms}
        rate = rate_rps or self.rate_rps
        load = {"loadtest": "poisson", "loadtest.request_rate": rate}
        rounds = math.ceil(ROUNDS * self.objective.limit_ms / 1e3 * rate)
        requests = min(MOST_REQUESTS, max(self.objective.needs, rounds))
        return found | load | {"loadtest.requests": requests, "loadtest.slo_ms": self.objective.limit_ms}

    def simulate(self, known: Known, candidate: Candidate, rate_rps: float | None = None) -> Outcome:
        """One level in virtual time."""
        few = min(1.0, MOST_SIMULATED / candidate.replicas)
        rate_rps, nominal = few * (rate_rps or self.rate_rps), rate_rps is None
        fleet = replace(candidate, replicas=min(candidate.replicas, MOST_SIMULATED))
        config = configured(known.config, self.overrides(fleet, rate_rps))
        for knob in (
            "stream",
            "stall_s",
            "k",
            "output_tokens",
            "zipf_s",
            "timeout_s",
        ):  # who asks stays the same
            if knob in known.record.config["loadtest"]:
                config["loadtest"][knob] = known.record.config["loadtest"][knob]
        self.said(f"{candidate.kind} × {candidate.replicas}")
        with progress.silent():
            (level,) = simulate(config, library(config).questions)
        outcome = self._judged(known, candidate, level.values)
        if nominal:
            self.tried.append(outcome)
        return outcome

    def _judged(self, known: Known, candidate: Candidate, values: Mapping[str, Any]) -> Outcome:
        name, limit_ms = f"e2e_ms.{self.objective.figure}", self.objective.limit_ms
        latency, low, high = (_ms(values.get(name + part)) for part in ("", "_low", "_high"))
        if not math.isfinite(high):  # too few that are independent: no less than the slowest is sure
            low, high = latency, _ms(values.get("e2e_ms.max"))
        low, high = low * (1 - known.error), high * (1 + known.error)
        share = float(values["goodput"])
        return Outcome(
            candidate,
            known,
            latency,
            low,
            high,
            share,
            values.get("batch_size.mean"),
            int(values.get("batch_size.max") or 1),
            holds=high <= limit_ms and share >= self.objective.share,
        )

    def _with_spare(self, plan: Outcome) -> Outcome:
        """How much more it holds, and whether one replica may fail; nothing of it where time is over."""
        if self.late():
            self.ended_early = True
            return plan
        spare, tries = 1.0, list(MORE)
        while tries and self.simulate(plan.known, plan.candidate, tries[0] * self.rate_rps).holds:
            spare = tries.pop(0)
        fewer = plan.candidate.replicas - 1
        least = 2 if dict(plan.candidate.knobs).get("balancer") == "staggered" else 1
        survives = fewer >= least and self.simulate(plan.known, replace(plan.candidate, replicas=fewer)).holds
        return replace(plan, spare=spare, survives=survives)


def _order(one: Outcome, fast_ms: float) -> tuple[float, int, int]:
    """The fastest first, of those that are about as fast as `fast_ms` the plainest, then the smallest batches."""
    size = int(dict(one.candidate.knobs).get("batching.max_size", 1))
    return max(one.latency_ms, fast_ms), KINDS.index(one.candidate.kind), size


def _ms(value: Any) -> float:
    return float(value) if finite(value) else math.inf
