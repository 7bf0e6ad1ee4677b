"""A plan's line is the configuration that was simulated, on what the record ran on."""

from __future__ import annotations

import shlex

from sections import composed

from mlsys.plan.candidate import Candidate, command, configured, written

BASE = (
    "server=batch",
    "corpus=animals",
    "embedder=hashing",
    "generator=simulated",
    "generator.base_ms=21",
    "device=cpu",
)
BATCH = Candidate(
    "batch", "batch", 3, (("batching", "hybrid"), ("batching.max_size", 16), ("balancer", "least_in_flight"))
)
LOAD = {"loadtest": "poisson", "loadtest.request_rate": 20.0}
SERVING = (
    "server",
    "batching",
    "balancer",
    "loadtest",
    "corpus",
    "embedder",
    "retriever",
    "generator",
    "prompt",
    "device",
)


def test_the_line_makes_the_configuration_that_was_simulated() -> None:
    base = composed(*BASE, "server.max_queue=500", "prompt.order=canonical", "retriever.filter.source=a b")
    for candidate in (BATCH, Candidate("queue", "queue", 1, (("balancer", "least_in_flight"),))):
        overrides = candidate.overrides | LOAD
        line = shlex.split(command(base, overrides))
        assert line[:2] == ["python", "run.py"]
        made, typed = configured(base, overrides), composed(*line[2:])
        assert {group: made[group] for group in SERVING} == {group: typed[group] for group in SERVING}


def test_one_replica_needs_no_balancer() -> None:
    alone = Candidate("batch", "batch", 1, BATCH.knobs).overrides
    assert alone == {"server": "batch", "batching": "hybrid", "batching.max_size": 16}
    assert list(BATCH.overrides)[:3] == ["server", "server.replicas", "server.replica"]


def test_what_a_server_of_the_record_allowed_holds_for_the_plan() -> None:
    made = configured(composed(*BASE, "server.max_queue=500", "server.port=8001"), BATCH.overrides)
    assert (made["server"]["max_queue"], made["server"]["port"], made["server"]["replicas"]) == (500, 0, 3)


def test_values_are_written_as_hydra_reads_them() -> None:
    values = [None, True, 0.5, 2000.0, [8, 128], {"e2e_ms": 5.0}, 1234567.0]
    assert [written(value) for value in values] == [
        "null",
        "true",
        "0.5",
        "2000",
        "[8,128]",
        "{e2e_ms:5}",
        "1234567.0",
    ]


def test_of_an_older_record_only_what_there_still_is_is_typed() -> None:
    old = composed(*BASE)
    del old["reranker"]
    old["embedder"]["gone"] = True
    line = command(old, BATCH.overrides | LOAD)
    assert "gone" not in line
    assert "reranker" not in line
    assert "generator.base_ms=21" in line


def test_what_a_model_has_anyway_is_not_typed() -> None:
    line = command(composed("server=batch", "generator.max_new_tokens=7"), BATCH.overrides)
    assert line.endswith("balancer=least_in_flight generator.max_new_tokens=7")
