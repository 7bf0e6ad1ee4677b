"""A level on the simulated engine beside what queueing theory says of it.

Between a form and a measurement lie three things that are no error of either, and each is told apart. The *service*
does more than generate: its other stages, the way to a worker's thread and back, HTTP. How much that is, it
measures itself, request by request, and the form is given the cost with it. The *arrivals* came as they came: they
are replayed through the model, and what the replay is above the form is their luck. And a busy machine does not
take the same time twice: replayed with the times that batches did take, the arrivals show what that *unsteadiness*
adds. What is then left is the *deviation*, and it is a bug of ours until shown otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlsys.loadtest.certify import autocorrelation, percentiles
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, REJECTED
from mlsys.record import Scalar
from mlsys.stages import STAGES
from mlsys.theory import cost as costs
from mlsys.theory import model as models
from mlsys.theory.closed_loop import ClosedLoop
from mlsys.theory.cost import Cost
from mlsys.theory.law import Floats, Law, Unstable
from mlsys.theory.model import Model, NoForm, Replay
from mlsys.theory.refusing import Refusing
from mlsys.theory.replay import Came

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WORK = [f"{stage}_ms" for stage in STAGES if stage not in ("queue", "respond")]
WITHIN = {"mean": 0.02, "p95": 0.05, "p99": 0.05}
SAME = 1e-9  # as a share: two times of one length
FEWEST = 30  # answers, to say what the service adds
Figures = dict[str, float]


@dataclass(frozen=True)
class Added:
    """The cost of a batch as it was, and what else a request takes.

    `cost`: a batch's time in all of its stages. `turn_ms`: from the event loop to the worker's thread and back.
    `around_ms`: what a request takes outside of line and worker (HTTP, event loops). `stretch`: what each good
    request's batch took as a multiple of its cost.
    """

    cost: Cost
    turn_ms: float
    around_ms: float
    stretch: pd.Series[float]

    @property
    def occupied(self) -> Cost:
        """How long a batch keeps the next one waiting."""
        return self.cost.longer(self.turn_ms)

    @property
    def outside_ms(self) -> float:
        """What a client's latency is above that of the form for `occupied`."""
        return self.around_ms - self.turn_ms


def beside(config: Mapping[str, Any], level: Mapping[str, Scalar], rows: pd.DataFrame) -> dict[str, Scalar]:
    """`theory.*` of a level, from its values and its requests (the rows of `requests.parquet`).

    `theory.model` is None where no form is known, and `theory.reason` says why.
    """
    engine = models.engine(config["generator"])
    good = rows[(rows["outcome"] == OK) & (rows["phase"] == MEASURED)]
    try:
        model = models.choose(config, level)
        alone = model.law(engine)
        added = _added(level, good, engine, model)
        law = model.law(added.occupied)
    except (NoForm, Unstable) as error:
        return {"theory.model": None, "theory.reason": str(error)}
    values: dict[str, Scalar] = {"theory.model": model.name, "theory.reason": None}
    values |= {f"theory.{part}_ms": value for part, value in _figures(alone, model).items()}
    if isinstance(alone, ClosedLoop):
        values["theory.throughput_rps"] = alone.throughput_rps
    values["theory.own_ms"] = added.cost(1) - engine(1) + added.around_ms
    values["theory.own_turn_ms"] = added.turn_ms
    came = rows[rows["outcome"].isin([OK, REJECTED] if isinstance(law, Refusing) else [OK])]
    values |= _admitted(alone, law, came)
    expected = {
        part: value + (added.outside_ms if model.apart else 0.0)
        for part, value in _figures(law, model).items()
    }
    if model.replay is None:
        if model.together:
            values["theory.own_pickup_ms"] = pickup_ms = _last_ones_ms(good["queue_ms"], model.together)
            expected["mean"] += pickup_ms
        return values | _compared(good, expected, good["e2e_ms"], {})
    steady, real = (_Replay.of(came, good, model.replay, added, real) for real in (model.random, True))
    pickup_ms = float(good.loc[real.idle, "queue_ms"].median()) - model.idle_ms if real.idle.any() else 0.0
    expected["mean"] += pickup_ms * float(steady.idle.mean())
    again = real.latency_ms + pickup_ms * real.idle
    usual = steady.latency_ms + pickup_ms * steady.idle
    values["theory.own_pickup_ms"] = pickup_ms
    values["theory.luck_ms"] = float(usual.mean()) - expected["mean"]
    values["theory.unsteady_ms"] = float(again.mean() - usual.mean())
    moved = {
        part: float(np.quantile(again, SHARES[part])) - expected[part] for part in SHARES if part in expected
    }
    return values | _compared(good, expected, good["e2e_ms"] - again + expected["mean"], moved)


def _figures(law: models.Mean, model: Model) -> Figures:
    found = {"mean": law.mean_ms}
    if model.percentiles and isinstance(law, Law):
        found |= {part: law.quantile_ms(share) for part, share in SHARES.items()}
    return found


def _admitted(alone: models.Mean, law: models.Mean, came: pd.DataFrame) -> dict[str, Scalar]:
    """The share that a door lets in: by the engine alone, with what the service adds, and as it was."""
    if not (isinstance(alone, Refusing) and isinstance(law, Refusing)):
        return {}
    shares = {"theory.admitted": alone.admitted, "theory.expected.admitted": law.admitted}
    return {
        **shares,
        "theory.measured.admitted": float((came.loc[came["phase"] == MEASURED, "outcome"] == OK).mean()),
    }


def _added(level: Mapping[str, Scalar], good: pd.DataFrame, engine: Cost, model: Model) -> Added:
    if len(good) < FEWEST:
        raise NoForm(f"{len(good)} answers are too few to tell what the service adds of its own")
    if good[["queue_ms", "generate_ms"]].isna().any(axis=None):
        raise NoForm("the answers do not tell what their stages took")
    work = good[[stage for stage in WORK if stage in good]].sum(axis=1)
    sizes = good["batch_size"].to_numpy(dtype=np.float64)
    turn = level.get("handover_ms.mean")
    if model.random:  # what a batch should have taken is not known one by one: own is what was not generating
        cost = engine.longer(float((work - good["generate_ms"]).mean()))
    else:
        cost = costs.fit(sizes, work.to_numpy(dtype=np.float64), 1 / sizes).cost
    return Added(
        cost,
        float(turn) if isinstance(turn, (int, float)) else 0.0,
        float((good["e2e_ms"] - good["queue_ms"] - work).mean()),
        work / np.array([cost(size) for size in sizes]),
    )


def _last_ones_ms(waits_ms: pd.Series[float], clients: int) -> float:
    """How long the last of so many clients waits on average, whose request begins the batch."""
    shortest = np.sort(waits_ms.to_numpy(dtype=np.float64))
    return float(shortest[: max(1, len(shortest) // clients)].mean())


def _compared(
    good: pd.DataFrame, expected: Figures, freed: pd.Series[float], moved: Figures
) -> dict[str, Scalar]:
    """What was measured and how far off it is.

    `freed`: latencies without the luck of arrivals and machine; `moved`: how far that luck moved the percentiles.
    """
    found = {"mean": float(freed.mean())}
    for part, share in SHARES.items():
        if part in expected and len(good) >= percentiles.least(share):
            found[part] = float(np.quantile(good["e2e_ms"], share)) - moved.get(part, 0.0)
    off = {part: value / expected[part] - 1 for part, value in found.items()}
    values: dict[str, Scalar] = {f"theory.expected.{part}_ms": value for part, value in expected.items()}
    values |= {f"theory.measured.{part}_ms": value for part, value in found.items()}
    values |= {f"theory.deviation.{part}": share for part, share in off.items()}
    repeats = [freed[good["repeat"] == repeat].to_numpy() for repeat in sorted(good["repeat"].unique())]
    holds: bool | None = all(abs(off[part]) <= most for part, most in WITHIN.items() if part in off)
    if (interval := autocorrelation.mean_interval(repeats)) is not None:
        low, high = interval.low / expected["mean"] - 1, interval.high / expected["mean"] - 1
        values |= {"theory.deviation.mean_low": low, "theory.deviation.mean_high": high}
        if (
            not holds
            and abs(off["mean"]) > WITHIN["mean"]
            and low <= WITHIN["mean"]
            and high >= -WITHIN["mean"]
        ):
            holds = None  # the level is too unsteady to tell
    return values | {"theory.holds": holds}


@dataclass(frozen=True)
class _Replay:
    """What each good request would have taken by the model, and which of them found an idle worker."""

    latency_ms: pd.Series[float]
    idle: pd.Series[bool]

    @classmethod
    def of(
        cls, rows: pd.DataFrame, good: pd.DataFrame, replay: Replay, added: Added, stretched: bool
    ) -> _Replay:
        """All of `rows` having come as they did, with services that take what they cost, or with those that were."""
        latency = pd.Series(np.nan, index=rows.index, dtype=np.float64)
        idle = pd.Series(False, index=rows.index)
        stretch = pd.Series(1.0, index=rows.index)
        if stretched:
            stretch.update(added.stretch)
        replica = pd.Series(-1, index=rows.index)
        if "replica" in rows:
            replica = pd.Series(pd.factorize(rows["replica"], sort=True)[0], index=rows.index)
        for _, one in rows.groupby("repeat"):
            ordered = one.sort_values("sent_s")
            sent: Floats = 1e3 * ordered["sent_s"].to_numpy(dtype=np.float64)
            late = sent - 1e3 * ordered["intended_s"].to_numpy(dtype=np.float64)
            services = np.asarray(stretch[ordered.index], dtype=np.float64)
            served_by = np.asarray(replica[ordered.index], dtype=np.int64)
            took = replay(Came(sent, services, served_by), added.occupied)
            gone = np.maximum.accumulate(np.concatenate([[-np.inf], sent + took]))[:-1]
            alone = took <= added.occupied(1) * services * (1 + SAME)
            latency[ordered.index], idle[ordered.index] = took + late, alone | (sent >= gone)
        late_ms = 1e3 * float((good["sent_s"] - good["intended_s"]).mean())  # is in around_ms as well
        return cls(latency[good.index] + (added.outside_ms - late_ms), idle[good.index])
