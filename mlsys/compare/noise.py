"""Whether two sets of runs differ by more than a machine varies from run to run.

What is compared is the logarithm of a statistic (median, mean, a percentile, a rate). Its uncertainty has two
parts:

- within a run: a circular block bootstrap of the repeats in their order (Politis and Romano 1992), with
  blocks as long as the repeats depend on each other, for repeats that follow one another are not independent;
- between runs: two runs of the same configuration differ by more than their repeats tell (other pages, other
  clock, other neighbours). One run a side says nothing of it, so a noise floor stands for it. Repeated runs of the
  same configuration, and controls (the same code measured in both runs, such as a baseline), say what it was: their
  variance, no less than the floor, gives a second interval with their degrees of freedom. The wider
  of the two intervals counts: what was seen can show that a machine is noisier than the floor, not that it is quieter.

The interval is Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FLOOR_DOF = 10
LEAST_DOF = 5
CONTROL_DOF = 4
DRAWS = 1000
MAX_ELEMENTS = 20_000_000
SEED = 20261124

Array = NDArray[np.float64]
Statistic = Literal["median", "mean", "p50", "p90", "p95", "p99", "rate"]
Verdict = Literal["higher", "lower", "no detectable difference"]


@dataclass(frozen=True)
class Interval:
    """B over A: the ratio, the interval of `confidence`, and how far runs of the same thing lie apart."""

    ratio: float
    low: float
    high: float
    noise: float

    @property
    def verdict(self) -> Verdict:
        """What the interval says of B."""
        if self.low > 1:
            return "higher"
        return "lower" if self.high < 1 else "no detectable difference"


def evaluate(samples: Array, statistic: Statistic) -> Array:
    """The statistic along the last axis. `rate` takes gaps between events, gives events per time."""
    if statistic == "median":
        return np.asarray(np.median(samples, axis=-1))
    if statistic == "mean":
        return np.asarray(np.mean(samples, axis=-1))
    if statistic == "rate":
        return np.asarray(1 / np.mean(samples, axis=-1))
    return np.asarray(np.percentile(samples, float(statistic[1:]), axis=-1))


def block_length(samples: Array) -> int:
    """How many repeats in a row depend on each other: twice the autocorrelation time, at most a third."""
    n = len(samples)
    centred = samples - samples.mean()
    variance = float(centred @ centred)
    if n < 4 or variance == 0:
        return 1
    time = 1.0
    for lag in range(1, n // 3):
        correlation = float(centred[:-lag] @ centred[lag:]) / variance
        if correlation <= 0:
            break
        time += 2 * correlation
    return int(min(max(1, np.ceil(2 * time) if time > 1.5 else 1), max(1, n // 3)))


def within(samples: Sequence[float], statistic: Statistic, least_block: int = 1) -> float:
    """Standard error of the logarithm of the statistic of one run's repeats; 0 where there is only one."""
    values = np.asarray(samples, dtype=np.float64)
    n = len(values)
    if n < 2:
        return 0.0
    block = min(max(block_length(values), least_block), max(1, n // 2))
    draws = max(200, min(DRAWS, MAX_ELEMENTS // n))
    rng = np.random.default_rng(SEED)
    blocks = max(2, round(n / block))  # whole ones: a part of a batch's answers says nothing of their rate
    starts = rng.integers(0, n, size=(draws, blocks))
    picks = ((starts[:, :, None] + np.arange(block)) % n).reshape(draws, -1)
    drawn = evaluate(values[picks], statistic)
    return float(np.std(np.log(np.maximum(drawn, 1e-300)))) * math.sqrt(blocks / (blocks - 1))


@dataclass(frozen=True)
class Run:
    """One run's repeats of one figure, in the order in which they were measured."""

    samples: Sequence[float]
    statistic: Statistic
    least_block: int = 1

    @property
    def log(self) -> float:
        """Logarithm of the run's figure."""
        return float(np.log(evaluate(np.asarray(self.samples, dtype=np.float64), self.statistic)))


def compare(
    a: Sequence[Run], b: Sequence[Run], floor: float, controls: Sequence[float] = (), confidence: float = 0.95
) -> Interval:
    """B against A. `floor`: how far two runs of the same thing lie apart as a rule (0.02: 2 %, standard
    deviation of a run); `controls`: log ratios B/A of what is the same in both. All samples must be positive.
    """
    logs = [np.array([run.log for run in side]) for side in (a, b)]
    squares = [
        np.array([within(run.samples, run.statistic, run.least_block) ** 2 for run in side])
        for side in (a, b)
    ]
    sizes = [len(side) for side in logs]
    difference = float(logs[1].mean() - logs[0].mean())
    inside = sum(float(square.mean()) / size for square, size in zip(squares, sizes, strict=True))
    share = sum(1 / size for size in sizes)
    taken = Reach(floor**2, floor**2 * share + inside, FLOOR_DOF)
    dof, control_dof = sum(sizes) - 2, min(len(controls), CONTROL_DOF)
    if dof + control_dof == 0:
        return taken.interval(difference, confidence)
    seen = sum(float(((side - side.mean()) ** 2).sum()) for side in logs)
    control = float(np.mean(np.square(controls))) / 2 if controls else 0.0
    between = max(floor**2, (seen + control_dof * control) / (dof + control_dof))
    found = Reach(between, between * share + (0.0 if dof else inside), max(LEAST_DOF, dof + control_dof))
    return max(taken, found, key=lambda reach: reach.of(confidence)).interval(difference, confidence)


def compare_in_turn(a: Sequence[Run], b: Sequence[Run], floor: float, confidence: float = 0.95) -> Interval:
    """B against A measured in turn with it, one `Run` a round: drift hits both alike, so rounds are pairs."""
    differences = np.array([right.log - left.log for left, right in zip(a, b, strict=True)])
    rounds = len(differences)
    small = 2 * (floor / 4) ** 2
    seen = float(((differences - differences.mean()) ** 2).sum())
    inside = float(np.mean([within(run.samples, run.statistic, run.least_block) ** 2 for run in (*a, *b)]))
    between = (small + 2 * inside + seen) / rounds
    reach = Reach(between / 2, between / rounds + small, max(LEAST_DOF, rounds - 1))
    return reach.interval(float(differences.mean()), confidence)


@dataclass(frozen=True)
class Reach:
    """How far an interval reaches: the variance between runs, that of the difference, and what both rest on."""

    between: float
    variance: float
    dof: int

    def of(self, confidence: float) -> float:
        """Half the width, on the logarithm."""
        return float(stats.t.ppf(0.5 + confidence / 2, self.dof)) * math.sqrt(self.variance)

    def interval(self, difference: float, confidence: float) -> Interval:
        """The interval around a difference of logarithms."""
        reach = self.of(confidence)
        ratio, low, high = (math.exp(difference + way) for way in (0.0, -reach, reach))
        return Interval(ratio, low, high, math.sqrt(self.between))
