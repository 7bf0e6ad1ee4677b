from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mlsys.compare import noise
from mlsys.compare.noise import Run

FLOOR = 0.02


def drifting(
    rng: np.random.Generator, level: float, between: float, repeats: int = 20, phi: float = 0.8
) -> Run:
    """A run of a machine that drifts: its own offset, repeats that depend on the ones before, now and then a jolt."""
    innovations = rng.normal(0, 0.01, repeats)
    path = np.zeros(repeats)
    for i in range(1, repeats):
        path[i] = phi * path[i - 1] + innovations[i]
    jolts = (rng.random(repeats) < 0.05) * rng.exponential(0.3, repeats)
    return Run(list(level * np.exp(rng.normal(0, between) + path + jolts)), "median")


def verdicts(pairs: Sequence[tuple[Run, Run]], **options: object) -> list[str]:
    return [noise.compare([a], [b], FLOOR, **options).verdict for a, b in pairs]  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 0.01, 0.02])
def test_runs_of_the_same_thing_are_the_same_in_19_of_20_tries(between: float) -> None:
    rng = np.random.default_rng(1)
    pairs = [(drifting(rng, 5.0, between), drifting(rng, 5.0, between)) for _ in range(400)]
    assert verdicts(pairs).count("no detectable difference") >= 380


def test_controls_teach_a_machine_noisier_than_the_floor() -> None:
    """Between runs 6 %, three times the floor, as baselines measured in the same runs give away."""
    rng = np.random.default_rng(2)
    quiet = 0
    for _ in range(300):
        a, b = (drifting(rng, 5.0, 0.06) for _ in range(2))
        controls = [float(rng.normal(0, 0.06 * np.sqrt(2))) for _ in range(4)]
        quiet += noise.compare([a], [b], FLOOR, controls).verdict == "no detectable difference"
    assert quiet >= 285


@pytest.mark.slow
def test_repeated_runs_teach_it_too() -> None:
    rng = np.random.default_rng(3)
    quiet = 0
    for _ in range(200):
        a, b = ([drifting(rng, 5.0, 0.04) for _ in range(5)] for _ in range(2))
        quiet += noise.compare(a, b, FLOOR).verdict == "no detectable difference"
    assert quiet >= 190


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(4)
    pairs = [(drifting(rng, 5.0, 0.01), drifting(rng, 6.0, 0.01)) for _ in range(100)]
    assert verdicts(pairs).count("higher") >= 95
    assert verdicts([(b, a) for a, b in pairs]).count("lower") >= 95


def test_more_runs_find_smaller_differences() -> None:
    rng = np.random.default_rng(5)
    one = noise.compare([drifting(rng, 5.0, 0.01)], [drifting(rng, 5.0, 0.01)], FLOOR)
    before, after = ([drifting(rng, 5.0, 0.01) for _ in range(10)] for _ in range(2))
    ten = noise.compare(before, after, FLOOR)
    assert ten.high - ten.low < (one.high - one.low) / 2


def test_measured_in_turn_drift_that_hits_both_does_not_matter() -> None:
    rng = np.random.default_rng(6)
    found = []
    for factor in (1.0, 1.05):
        drift = np.exp(rng.normal(0, 0.1, 8))
        a = [Run(list(5 * d * np.exp(rng.normal(0, 0.01, 20))), "median") for d in drift]
        b = [Run(list(5 * factor * d * np.exp(rng.normal(0, 0.01, 20))), "median") for d in drift]
        found.append(noise.compare_in_turn(a, b, FLOOR).verdict)
    assert found == ["no detectable difference", "higher"]


def test_dependent_repeats_get_longer_blocks_and_a_larger_error() -> None:
    rng = np.random.default_rng(7)
    alone = rng.normal(5, 0.1, 200)
    walk = 5 + 0.1 * np.convolve(rng.normal(0, 1, 220), np.ones(20) / np.sqrt(20), "valid")[:200]
    assert noise.block_length(alone) <= 3
    assert noise.block_length(walk) >= 10
    assert noise.within(list(walk), "mean") > 2 * noise.within(list(alone), "mean")


def test_the_error_of_a_mean_is_the_known_one() -> None:
    values = np.random.default_rng(8).normal(100, 5, 400)
    assert noise.within(list(values), "mean") == pytest.approx(0.05 / 20, rel=0.2)


def test_one_repeat_says_nothing_of_its_error() -> None:
    assert noise.within([5.0], "median") == 0


def test_constant_repeats_have_no_error() -> None:
    assert noise.within([5.0] * 20, "median") == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("statistic", "value"), [("median", 3.0), ("mean", 22.0), ("p95", 80.8), ("rate", 1 / 22)]
)
def test_evaluate(statistic: noise.Statistic, value: float) -> None:
    assert float(noise.evaluate(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), statistic)) == pytest.approx(value)


def test_the_same_input_gives_the_same_interval() -> None:
    run = drifting(np.random.default_rng(9), 5.0, 0.01)
    assert noise.compare([run], [run], FLOOR) == noise.compare([run], [run], FLOOR)
