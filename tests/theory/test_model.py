from __future__ import annotations

from typing import Any

import pytest
from sections import section, simulated

from mlsys.theory.choices import Choices
from mlsys.theory.cost import Cost
from mlsys.theory.exponential import Exponential
from mlsys.theory.model import NoForm, choose, engine

EXPONENTIAL = {"distribution": "exponential"}
DOOR = section("batching/slo", max_size=1, base_ms=21.0, per_request_ms=1.0, limit_ms=100.0)
RATE = {"offered_rate_rps": 40.0}


def made(server: str, load: str = "poisson", /, **sections: dict[str, Any]) -> dict[str, Any]:
    return simulated(server, load, **sections)


def test_the_engines_cost_is_that_of_its_knobs() -> None:
    assert engine({"base_ms": 5.0, "per_token_ms": 0.5, "max_new_tokens": 32, "per_request_ms": 1.0}) == Cost(
        1.0, 21.0
    )


@pytest.mark.parametrize(
    ("server", "sections", "name"),
    [
        ("queue", {}, "M/D/1"),
        ("queue", {"server": {"workers": 3}, "generator": EXPONENTIAL}, "M/M/3"),
        ("baseline", {}, "M/D/1"),
        ("batch", {"batching": {"linger_ms": 0.0}}, "batch service with a window"),
        ("batch", {"batching": DOOR}, "M/D/1 with a door"),
        ("lb", {"server": {"replica": "queue"}, "balancer": {"name": "power_of_two"}, "generator": EXPONENTIAL},
         "shortest of 2 among 3"),
    ],
)  # fmt: skip
def test_each_mode_has_its_form(server: str, sections: dict[str, dict[str, Any]], name: str) -> None:
    assert choose(made(server, **sections), RATE).name == name


def test_forms_are_given_the_cost() -> None:
    queue = choose(made("queue", server={"workers": 2}, generator=EXPONENTIAL), RATE)
    assert queue.law(Cost(0.0, 30.0)).mean_ms == Exponential(40.0, 30.0, 2).mean_ms
    replicas = {"replica": "queue", "replicas": 2}
    lb = choose(
        made("lb", server=replicas, balancer={"name": "least_in_flight"}, generator=EXPONENTIAL), RATE
    )
    assert lb.law(Cost(0.0, 30.0)).mean_ms == Choices(40.0, 30.0, 2, 2).mean_ms


def test_a_baseline_promises_no_order_and_so_no_percentiles() -> None:
    assert not choose(made("baseline"), RATE).percentiles
    assert choose(made("queue"), RATE).percentiles


@pytest.mark.parametrize(
    ("server", "load", "sections", "reason"),
    [
        ("lb", "poisson", {}, "replicas that go one by one"),
        ("queue", "closed", {"server": {"workers": 2}}, "several workers in a closed loop"),
        ("batch", "closed", {"batching": {"name": "size"}}, "batching=size has no form"),
        ("queue", "closed", {"generator": EXPONENTIAL}, "the closed loop's form is of a fixed cost"),
        (
            "queue",
            "poisson",
            {"generator": {"name": "smollm2"}},
            "generator=smollm2 has no cost that is known",
        ),
        ("queue", "poisson", {"server": {"name": "continuous"}}, "server=continuous has no form"),
    ],
)
def test_what_has_no_form_is_refused_with_the_reason(
    server: str, load: str, sections: dict[str, dict[str, Any]], reason: str
) -> None:
    with pytest.raises(NoForm, match=reason):
        choose(made(server, load, **sections), {**RATE, "concurrency": 4})
