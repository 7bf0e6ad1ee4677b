from __future__ import annotations

from typing import Any

import pytest

from mlsys.loadtest.server_counters import Stats, difference, read
from mlsys.record import Scalar


def test_a_level_gets_what_was_counted_during_it() -> None:
    before, after = Stats({"full": 2, "idle": 1}), Stats({"full": 5, "idle": 1, "deadline": 4})
    assert difference(before, after) == {"closed_by.deadline": 4, "closed_by.full": 3, "closed_by.idle": 0}


def test_a_cycle_is_the_mean_of_those_during_the_level() -> None:
    before, after = (
        Stats(cycles={"count": 10, "total_us": 900_000}),
        Stats(cycles={"count": 14, "total_us": 1_000_000}),
    )
    assert difference(before, after) == {"cycles": 4, "cycle_ms.mean": 25.0}
    assert difference(after, after) == difference(before, Stats(cycles={"count": 12})) == {}


def test_the_front_s_share_is_of_the_time_between() -> None:
    before = Stats(front={"cpu_us": 1_000, "clock_us": 50_000_000})
    after = Stats(front={"cpu_us": 751_000, "clock_us": 51_000_000})
    assert difference(before, after) == {"front.cpu_share": 0.75}
    assert difference(Stats(), Stats()) == {}
    assert difference(Stats(), after) == {}, (
        "a service that could not be asked before: that would be since its start"
    )
    assert read({"front": {"cpu_us": 5, "clock_us": -1}}) == Stats(front={"cpu_us": 5})


def test_a_count_that_fell_belongs_to_a_service_that_was_started_anew() -> None:
    assert difference(Stats({"full": 9}), Stats({"full": 2})) == {"closed_by.full": 2}


def test_what_a_service_tells_is_read() -> None:
    pipeline: dict[str, Scalar] = {
        "corpus.name": "animals",
        "k": 2,
        "threads": None,
        "share": 0.5,
        "real": True,
    }
    told = {
        "closed": {"full": 3},
        "pipeline": pipeline,
        "replicas": {"replica-0": {"gpu": "0", "up": True}, "replica-1": {"up": True}},
    }
    assert read(told) == Stats({"full": 3}, pipeline, {"replica-0": "0"})


def test_what_a_scheduler_of_tokens_counted_during_a_level() -> None:
    tokens = {
        "prefix_cache_queries": 1000,
        "prefix_cache_hits": 100,
        "num_preemptions": 1,
        "prompt_tokens": 900,
    }
    later = {
        "prefix_cache_queries": 3000,
        "prefix_cache_hits": 1100,
        "num_preemptions": 3,
        "prompt_tokens": 1900,
    }
    pipeline = {"stepper.slots": 10, "stepper.slot_tokens": 200}
    before = {"steps": {"count": 10, "total_us": 50_000, "held_tokens": 0}, "tokens": tokens}
    after = {
        "steps": {"count": 30, "total_us": 150_000, "held_tokens": 8000},
        "tokens": later,
        "pipeline": pipeline,
    }
    assert difference(read(before), read(after)) == {
        "steps": 20,
        "step_ms.mean": 5.0,
        "kv_usage.mean": 0.2,
        "prefix.hit_rate": 0.5,
        "prefix.tokens_saved": 1000,
        "prompt_tokens_read": 1000,
        "preemptions": 2,
    }
    assert difference(read(after), read(after)) == {"prompt_tokens_read": 0, "preemptions": 0}


@pytest.mark.parametrize(
    "content", [None, {}, [], "fine", 3, {"closed": None, "pipeline": [1], "replicas": "x"}]
)
def test_a_service_that_tells_nothing(content: Any) -> None:
    assert read(content) == Stats()
    assert difference(read(None), read(content)) == {}


def test_odd_fields_are_not_read_and_the_others_are() -> None:
    told = {
        "closed": {"full": "x", "idle": float("inf"), "odd": -1, "much": 10**400, "yes": True, "deadline": 4},
        "pipeline": {
            "a": float("nan"),
            "b": {"c": 1},
            "d": "\ud800",
            "e": 10**400,
            "f" * 400: 1,
            "g": "\x1b[2J",
            "h": 1,
        },
        "replicas": {"a": {"gpu": [1]}, "b": None, "c": {"gpu": "1"}},
    }
    assert read(told) == Stats({"deadline": 4}, {"h": 1}, {"c": "1"})


def test_a_thousand_fields_are_not_a_record() -> None:
    assert len(read({"pipeline": {str(i): i for i in range(1000)}}).pipeline) == 100
