"""Batch service: the published forms, the chain, a replay, and this project's own policies, all of one opinion."""

from __future__ import annotations

import numpy as np
import pytest
from simulation import simulate

from mlsys.serving.batching import Policy
from mlsys.serving.batching.hybrid import Hybrid
from mlsys.serving.batching.time import Time
from mlsys.theory import replay
from mlsys.theory.batch_service import Batches, TakeAll
from mlsys.theory.cost import Cost
from mlsys.theory.law import Unstable

COST = Cost(1.0, 21.0)
MEANS = [(10, 24.419), (50, 31.581), (100, 35.556), (200, 40.504), (400, 53.929)]


@pytest.mark.parametrize(("rate", "mean_ms"), MEANS)
def test_the_published_means(rate: float, mean_ms: float) -> None:
    assert TakeAll(rate, 1.0, 21.0).mean_ms == pytest.approx(mean_ms, abs=0.0005)


@pytest.mark.parametrize("rate", [rate for rate, _ in MEANS])
def test_the_chain_agrees_with_the_published_form(rate: float) -> None:
    form, chain = TakeAll(rate, 1.0, 21.0), Batches(rate, COST)
    assert chain.mean_ms == pytest.approx(form.mean_ms, rel=1e-9)
    assert chain.mean_batch == pytest.approx(form.mean_batch, rel=1e-9)


@pytest.mark.parametrize(
    ("window_ms", "at_once"), [(0, True), (20, True), (20, False), (50, True), (50, False)]
)
def test_windows_and_percentiles_are_those_of_a_long_stream(window_ms: float, at_once: bool) -> None:
    law = Batches(100.0, COST, window_ms, at_once)
    arrivals = np.cumsum(np.random.default_rng(5).exponential(10, 100_000))
    latencies, sizes = replay.batches(arrivals, COST, None, window_ms, at_once)
    assert latencies.mean() == pytest.approx(law.mean_ms, rel=0.01)
    assert np.mean(sizes) == pytest.approx(law.mean_batch, rel=0.01)
    for share in (0.5, 0.95, 0.99):
        assert np.quantile(latencies, share) == pytest.approx(law.quantile_ms(share), rel=0.01)


def test_a_window_longer_than_any_batch_holds_the_first_and_whoever_comes_in_it() -> None:
    law = Batches(100.0, COST, window_ms=50.0, at_once=False)
    assert law.mean_batch == pytest.approx(6.0)
    assert law.mean_ms == pytest.approx((50 + 5 * 25) / 6 + 21 + (6 + 5 / 6))  # E[B²]/E[B] of 1 + Poisson(5)


def test_a_lone_request_costs_one_batch_of_one() -> None:
    law = Batches(1e-6, COST)
    assert law.mean_ms == pytest.approx(22.0, rel=1e-6)
    assert law.quantile_ms(0.99) == pytest.approx(22.0, rel=1e-6)


@pytest.mark.parametrize(
    ("policy", "window_ms", "at_once"),
    [
        (Hybrid("hybrid", 10_000, 0.0, 0.0, None), 0.0, True),
        (Hybrid("hybrid", 10_000, 30.0, 0.0, None), 30.0, True),
        (Time("time", 10_000, 30.0, None), 30.0, False),
    ],
    ids=["take-all", "hybrid", "time"],
)
def test_the_policies_do_what_the_model_says_to_the_request(
    policy: Policy, window_ms: float, at_once: bool
) -> None:
    arrivals = np.cumsum(np.random.default_rng(6).exponential(10, 5_000)).tolist()
    expected, sizes = replay.batches(arrivals, COST, None, window_ms, at_once)
    run = simulate(policy, [at / 1e3 for at in arrivals], lambda size: COST(size) / 1e3)
    done = {
        member: free for batch, free in zip(run.batches, run.free_at, strict=True) for member in batch.members
    }
    latencies = [1e3 * (done[member] - run.arrived[member]) for member in sorted(done)]
    assert run.sizes == sizes
    assert latencies == pytest.approx(expected.tolist())


def test_a_batch_that_may_hold_no_more_is_closed_when_it_is_full() -> None:
    arrivals = np.cumsum(np.random.default_rng(7).exponential(4, 3_000)).tolist()
    for policy, at_once in ((Hybrid("hybrid", 8, 30.0, 0.0, None), True),):
        expected, sizes = replay.batches(arrivals, COST, 8, 30.0, at_once)
        run = simulate(policy, [at / 1e3 for at in arrivals], lambda size: COST(size) / 1e3)
        assert run.sizes == sizes
        assert max(sizes) == 8
        assert run.batches[5].at * 1e3 + COST(sizes[5]) == pytest.approx(
            arrivals[sum(sizes[:5])] + expected[sum(sizes[:5])]
        )


def test_how_many_batches_would_not_fit_is_known() -> None:
    law = Batches(100.0, COST)
    assert law.batch_tail(0) == pytest.approx(1.0)
    assert 0 < law.batch_tail(6) < law.batch_tail(3) < 1


def test_more_than_endless_batches_can_do_is_refused() -> None:
    with pytest.raises(Unstable):
        TakeAll(1000.0, 1.0, 21.0)
    with pytest.raises(Unstable):
        Batches(1001.0, COST)
