"""The search on made-up services: the fewest replicas that hold are found, and told with what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sections import composed

from mlsys.plan import search as searching
from mlsys.plan import told
from mlsys.plan.candidate import Candidate
from mlsys.plan.known import Known
from mlsys.plan.objective import Objective, Price
from mlsys.plan.picture import figure
from mlsys.plan.search import Outcome, Search
from mlsys.record import Level, Record

ENGINE = (
    "generator=simulated",
    "generator.base_ms=21",
    "generator.per_request_ms=1",
    "generator.per_token_ms=0",
)
CONFIG = composed("server=batch", "corpus=animals", "embedder=hashing", *ENGINE)
LEVEL = {"offered_rate_rps": 50.0, "batch_size.max": 16, "e2e_ms.p95": 60.0, "stage_ms.embed.mean": 1.0}


STAGES = {"stage_ms.retrieve.mean": 1.0, "stage_ms.prompt.mean": 1.0}


def known(off: tuple[float, ...] = (0.02, -0.04, 0.01), levels: list[dict[str, Any]] | None = None) -> Known:
    told_levels = levels or [LEVEL | STAGES | {"batch_size.max": size} for size in (4, 8, 16)]
    record = Record(
        "serving", [], CONFIG, "", {"hardware": {"cpu": "a CPU"}}, "", status="ok", levels=told_levels
    )
    return Known("batch", [record], CONFIG, 16, off)


def served(config: Mapping[str, Any], *_: Any) -> list[Level]:
    """A service that is as late as it is busy: half of what its largest batches could do is within 100 ms."""
    server = config["server"]
    batches = server.get("replica", server["name"]) == "batch"
    size = config["batching"]["max_size"] if batches else 1
    most = server.get("replicas", 1) * 1e3 * size / (21 + size)
    busy = config["loadtest"]["request_rate"] / most
    latency = 50.0 + 100 * busy if busy < 1 else 10_000.0
    values = {f"e2e_ms.p95{part}": latency * by for part, by in (("", 1.0), ("_low", 0.9), ("_high", 1.1))}
    good = 1.0 if latency <= config["loadtest"]["slo_ms"] else 0.5
    return [Level(values | {"goodput": good, "requests": 2_000, "batch_size.max": size})]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setattr(searching, "simulate", served)
    return Search(900.0, Objective("p95", 150.0), [known()], 64, lambda _: None)


def test_each_way_gets_as_few_replicas_as_hold_and_the_cheapest_three_are_told(search: Search) -> None:
    plans = search.run()
    assert [plan.candidate.replicas for plan in plans] == sorted(plan.candidate.replicas for plan in plans)
    assert len({plan.candidate.kind for plan in plans}) == len(plans) == 3
    assert all(plan.high_ms <= 150.0 for plan in plans)
    best = plans[0].candidate
    fewer = [one for one in search.tried if one.candidate == replace(best, replicas=best.replicas - 1)]
    assert [one.holds for one in fewer] == [False]


def test_the_interval_has_the_sample_and_the_models_own_error(search: Search) -> None:
    one = search.simulate(
        search.records[0], Candidate("batch", "batch", 4, (("batching", "hybrid"), ("batching.max_size", 16)))
    )
    assert one.low_ms == pytest.approx(one.latency_ms * 0.9 * 0.98)
    assert one.high_ms == pytest.approx(one.latency_ms * 1.1 * 1.02)


def test_no_plan_says_what_came_nearest_or_how_many_it_would_take(search: Search) -> None:
    tight = Search(900.0, Objective("p95", 120.0), [known()], 2, lambda _: None)
    assert tight.run() == []
    assert "with at most 2 replicas. The nearest is batch" in told.none(tight)
    hopeless = Search(900.0, Objective("p95", 15.0), [known()], 64, lambda _: None)
    assert hopeless.run() == []
    assert "one request alone takes 22 ms" in told.none(hopeless)
    far = Search(1e5, Objective("p95", 150.0), [known()], 4, lambda _: None)
    assert far.run() == []
    assert "or more (--max-replicas)" in told.none(far)


def test_larger_batches_than_measured_are_proposed_twofold_at_most_and_called_extrapolated(
    search: Search,
) -> None:
    plans = search.run()
    assert max(one.batch_max for one in search.tried) == 32
    assert any("extrapolated" in text for text in told.unknown(search, plans))


def test_the_answer_names_what_it_does_not_know(search: Search) -> None:
    said = " ".join(told.unknown(search, search.run()))
    for words in ("one record only", "server=continuous", "a CPU", "no record of server=lb", "Poisson"):
        assert words in said
    alone = known((0.3,), [LEVEL])
    said = " ".join(told.unknown(Search(10.0, search.objective, [alone], 8, lambda _: None), []))
    for words in ("1 level", "retrieve, prompt", "off by +30 %"):
        assert words in said


def test_the_frontier_and_the_limit_are_drawn(search: Search) -> None:
    plans = search.run()
    drawn = figure(search, plans, Price("gpu", 2.5))
    frontier = next(trace for trace in drawn["data"] if trace["name"] == "frontier")
    assert len(frontier["x"]) > 1
    assert frontier["y"] == sorted(frontier["y"], reverse=True)
    assert drawn["layout"]["shapes"][0]["y0"] == 150.0
    assert {trace["name"] for trace in drawn["data"]} >= {plan.candidate.kind for plan in plans}


def test_many_replicas_are_simulated_by_their_share(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float]] = []

    def spied(config: Mapping[str, Any], *asked: Any) -> list[Level]:
        seen.append((config["server"]["replicas"], config["loadtest"]["request_rate"]))
        return served(config)

    monkeypatch.setattr(searching, "simulate", spied)
    plan: Outcome = search.simulate(search.records[0], Candidate("queue", "queue", 40))
    assert seen == [(8, 180.0)]
    assert plan.candidate.replicas == 40


def test_a_search_without_time_says_so(search: Search) -> None:
    search.budget_s = -1.0
    assert search.run() == []
    assert search.ended_early


def test_what_was_not_tried_for_want_of_time_is_not_told_as_a_result(search: Search) -> None:
    plan = search.run()[0]
    assert plan.spare is not None
    search.budget_s = -1.0
    untried = search._with_spare(replace(plan, spare=None, survives=None))
    assert "was not tried" in told.plan(search, untried, Price())[1]
