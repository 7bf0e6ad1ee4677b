from __future__ import annotations

from mlsys.loadtest.phases import COOLDOWN, MEASURED, WARMUP, Phases


def send(phases: Phases, at_s: float) -> str | None:
    phase = phases.next(at_s)
    if phase is not None:
        phases.send(phase, at_s)
    return phase


def test_warmup_passes_into_measurement_and_then_the_load_is_kept() -> None:
    phases = Phases(warmup=2, requests=3, duration_s=None, keep_load=True)
    assert [send(phases, t) for t in range(7)] == [WARMUP] * 2 + [MEASURED] * 3 + [COOLDOWN] * 2
    phases.done(WARMUP)
    phases.done(MEASURED)
    phases.done(COOLDOWN)
    phases.done(MEASURED)
    assert send(phases, 8) == COOLDOWN
    phases.done(MEASURED)
    assert send(phases, 9) is None


def test_an_open_loop_stops_with_the_last_measured() -> None:
    phases = Phases(warmup=0, requests=2, duration_s=None, keep_load=False)
    assert [send(phases, t) for t in range(3)] == [MEASURED, MEASURED, None]


def test_a_duration_counts_from_the_first_measured_request() -> None:
    phases = Phases(warmup=1, requests=None, duration_s=2.0, keep_load=False)
    assert [send(phases, t) for t in (0.0, 5.0, 6.0, 6.99, 7.0)] == [
        WARMUP,
        MEASURED,
        MEASURED,
        MEASURED,
        None,
    ]


def test_the_first_limit_ends_it() -> None:
    phases = Phases(warmup=0, requests=2, duration_s=10.0, keep_load=False)
    assert [send(phases, t) for t in (0.0, 1.0, 2.0)] == [MEASURED, MEASURED, None]


def test_how_long_sending_takes_at_a_rate() -> None:
    assert Phases(5, 60, None, keep_load=False).expected_s(0.5) == 130
    assert Phases(5, None, 30.0, keep_load=False).expected_s(0.5) == 40
    assert Phases(5, 60, 30.0, keep_load=False).expected_s(10) == 6.5
