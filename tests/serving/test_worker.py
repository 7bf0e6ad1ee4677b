"""One batch through the stages: who drops out where, who fails with whom, what comes back."""

from typing import Any

import pytest
from serving_doubles import FakePipeline, Hook
from turned_clock import Clock

from mlsys.rag.item import Item
from mlsys.serving.request import Expired, Failed, Request, ServiceError
from mlsys.serving.worker import Cut, Worker


def run(
    pipeline: FakePipeline, requests: list[Request], cut: Cut = len
) -> tuple[dict[Request, ServiceError | None], list[Request]]:
    settled: dict[Request, ServiceError | None] = {}

    def settle(request: Request, error: ServiceError | None) -> None:
        assert request not in settled, "settled twice"
        settled[request] = error

    later = Worker(pipeline).run(requests, cut, settle)
    return settled, later


def requests_for(*queries: str, **knobs: Any) -> list[Request]:
    return [Request(query, 2, **knobs) for query in queries]


def test_a_batch_goes_through_every_stage_together() -> None:
    pipeline = FakePipeline()
    requests = requests_for("a", "b", "c")
    settled, later = run(pipeline, requests)
    assert pipeline.calls == [(name, ["a", "b", "c"]) for name in ("embed", "retrieve", "prompt", "generate")]
    assert settled == dict.fromkeys(requests)
    assert later == []
    assert [request.item.result for request in requests] == ["answer to a", "answer to b", "answer to c"]
    assert {request.batch_size for request in requests} == {3}


@pytest.mark.parametrize("stage", ["embed", "retrieve", "prompt", "generate"])
def test_one_failing_request_fails_alone(stage: str) -> None:
    good, bad, also_good = requests = requests_for("a", f"fail {stage}", "c")
    settled, _ = run(FakePipeline(), requests)
    assert settled[good] is None
    assert settled[also_good] is None
    failure = settled[bad]
    assert isinstance(failure, Failed)
    assert failure.message == f"the {stage} stage failed: ValueError: cannot {stage} this"


@pytest.mark.parametrize("stage", ["embed", "retrieve", "prompt"])
def test_a_request_cancelled_during_a_stage_is_dropped_before_the_next(stage: str) -> None:
    stays, leaves = requests_for("stays", "leaves")
    pipeline = FakePipeline(**{stage: lambda items: setattr(leaves, "cancelled", True)})
    settled, _ = run(pipeline, [stays, leaves])
    after = [queries for name, queries in pipeline.calls][
        ["embed", "retrieve", "prompt", "generate"].index(stage) + 1 :
    ]
    assert after
    assert all(queries == ["stays"] for queries in after)
    assert settled[stays] is None
    assert isinstance(settled[leaves], Expired)


@pytest.mark.parametrize("stage", ["embed", "retrieve", "prompt"])
def test_a_deadline_is_honoured_before_each_stage(stage: str) -> None:
    clock = Clock()

    def slow(items: list[Item]) -> None:
        clock.now += 1.0

    late, patient = Request("late", 2, timeout_ms=500, clock=clock), Request("patient", 2, clock=clock)
    pipeline = FakePipeline(**{stage: slow})
    settled, _ = run(pipeline, [late, patient])
    late_error = settled[late]
    assert isinstance(late_error, Expired)
    assert late_error.status == 504
    assert settled[patient] is None
    assert pipeline.batches() == [["patient"]]


def test_all_gone_leaves_the_later_stages_alone() -> None:
    clock = Clock()
    request = Request("late", 2, timeout_ms=0.001, clock=clock)
    clock.now += 1
    pipeline = FakePipeline()
    settled, later = run(pipeline, [request])
    assert pipeline.calls == []
    assert isinstance(settled[request], Expired)
    assert later == []


def test_what_does_not_fit_comes_back_prepared_and_in_order() -> None:
    pipeline = FakePipeline()
    engine, settled = Worker(pipeline), []
    requests = requests_for("a", "b", "c", "d")
    later = engine.run(
        requests, lambda tokens: 2, lambda request, error: settled.append((request.query, error))
    )
    assert [request.query for request in later] == ["c", "d"]
    assert settled == [("a", None), ("b", None)]
    assert engine.last_size == 2
    fresh = requests_for("e")
    engine.run(later + fresh, len, lambda request, error: settled.append((request.query, error)))
    assert pipeline.batches("embed") == [["a", "b", "c", "d"], ["e"]], (
        "prepared requests are not prepared again"
    )
    assert pipeline.batches() == [["a", "b"], ["c", "d", "e"]]
    assert [query for query, _ in settled] == ["a", "b", "c", "d", "e"]


def test_waiting_between_preparation_and_generation_counts_as_queue() -> None:
    clock = Clock()
    request = Request("a", 2, clock=clock)

    def takes(seconds: float) -> Hook:
        return lambda items: setattr(clock, "now", clock.now + seconds)

    pipeline = FakePipeline(embed=takes(1), prompt=takes(2), generate=takes(4))
    engine = Worker(pipeline)
    clock.now += 8
    assert engine.run([request], lambda tokens: 0, lambda *_: None) == [request]
    clock.now += 16
    engine.run([request], len, lambda *_: None)
    timings = request.timings_ms()
    assert timings["queue"] == 24_000
    assert (timings["embed"], timings["prompt"], timings["generate"]) == (1000, 2000, 4000)
    assert timings["total"] == 31_000


def test_a_stalled_engine_can_be_told_from_an_idle_one() -> None:
    seen = []
    pipeline = FakePipeline()
    engine = Worker(pipeline)
    pipeline.hooks["generate"] = lambda items: seen.append((engine.stalled(0), engine.stalled(1000)))
    assert not engine.stalled(0)
    engine.run(requests_for("a"), len, lambda *_: None)
    assert seen == [(True, False)]
    assert not engine.stalled(0)
