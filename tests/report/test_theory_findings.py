from __future__ import annotations

from typing import Any

from mlsys.report import theory_findings


def level(load: float, off: float, **more: Any) -> dict[str, Any]:
    return {
        "run": "a", "record": 0, "level": 0, "workload": "serving", "status": "ok", "error": None, "source": "measured",
        "config.server.name": "queue", "load": load, "theory.model": "M/D/1", "theory.deviation.mean": off,
        "theory.own_ms": 1.0 + load / 100, **more,
    }  # fmt: skip


def test_how_many_levels_hold_and_which_is_farthest_off() -> None:
    said = theory_findings.summary([level(10, 0.001), level(20, -0.035), level(30, 0.015)])
    assert said == [
        "Theory: at 2 of 3 levels the mean latency is within 2 % of the form; "
        "farthest off queue at 20 (M/D/1): -3.50 %.",
        "What the service adds of its own to a lone request: 1.1 to 1.3 ms.",
    ]


def test_a_level_whose_interval_reaches_into_the_limit_is_not_called_off() -> None:
    wide = {"theory.deviation.mean_low": -0.01, "theory.deviation.mean_high": 0.09}
    sure = {"theory.deviation.mean_low": 0.04, "theory.deviation.mean_high": 0.06}
    said = theory_findings.summary([level(10, 0.04, **wide), level(20, 0.05, **sure), level(30, 0.0)])
    assert said[0].startswith(
        "Theory: at 1 of 3 levels the mean latency is within 2 % of the form, "
        "at 1 more the interval is too wide to tell; farthest off queue at 20"
    )


def test_levels_without_a_form_or_that_are_not_valid_say_nothing() -> None:
    assert theory_findings.summary([]) == []
    none = {"theory.model": None, "theory.deviation.mean": None}
    assert theory_findings.summary([level(10, 0.001) | none, level(10, 0.001, valid=False)]) == []
