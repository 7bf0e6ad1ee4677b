from __future__ import annotations

from array import array

import numpy as np
import pytest
from made_rows import row

from mlsys.loadtest.distributions import distribution
from mlsys.loadtest.rows import FAILED, REJECTED, TIMED_OUT, Row
from mlsys.loadtest.sessions import turns
from mlsys.loadtest.statistics import batches, counts, goodput, replicas, stages, summarise, told


def test_percentiles_are_numpys_and_p99_needs_a_hundred() -> None:
    values = [float(v) for v in range(1, 100)]
    few, enough = distribution("x", values), distribution("x", [*values, 100.0])
    assert few["x.p99"] is None
    assert few["x.p50"] == 50
    assert enough["x.p99"] == pytest.approx(99.01)
    assert enough["x.p95"] == pytest.approx(np.percentile(range(1, 101), 95))
    assert (enough["x.mean"], enough["x.max"]) == (50.5, 100)


def test_nothing_measured_is_none_not_zero() -> None:
    assert set(distribution("x", []).values()) == {None}


def test_outcomes_are_counted_apart() -> None:
    rows = [row(0, 1), row(0, 1, outcome=REJECTED, retry_after_s=3.0), row(0, 1, outcome=REJECTED)]
    rows += [row(0, 1, outcome=TIMED_OUT, error="late"), row(0, 1, outcome=FAILED, error="bad")]
    rows += [row(0, 1, outcome=FAILED, error="bad")]
    found = counts(rows)
    assert [found[name] for name in ("requests", "succeeded", "rejected", "timed_out", "failed")] == [
        6,
        1,
        2,
        1,
        2,
    ]
    assert found["success_rate"] == pytest.approx(1 / 6)
    assert (found["rejected_with_retry_after"], found["retry_after_s.mean"]) == (1, 3.0)
    assert found["most_frequent_error"] == "bad"


def test_errors_are_counted_by_their_kind() -> None:
    bad = [
        row(0, 1, outcome=REJECTED, status=429),
        row(0, 1, outcome=TIMED_OUT, status=504),
        row(0, 1, outcome=TIMED_OUT),
        row(0, 1, outcome=FAILED, error="ClientConnectorError: no"),
        row(0, 1, outcome=FAILED, status=200, error="the stream ended early"),
        row(0, 1, outcome=FAILED, status=200, error="the answer has no text"),
    ]
    found = {name: count for name, count in counts([*bad, row(0, 1)]).items() if name.startswith("errors.")}
    kinds = ("answer", "connection", "status_429", "status_504", "stream", "timeout")
    assert found == {f"errors.{kind}": 1 for kind in kinds}


def test_what_only_some_services_tell_is_there_only_where_it_is_told() -> None:
    assert told([row(0, 1)]) == {}
    rows = [row(0, 1, tokens_estimated=True, prompt_tokens=4, met=True), row(0, 1, prompt_tokens=8)]
    rows.append(row(0, 1, outcome=FAILED, met=False))
    assert told(rows) == {
        "output_tokens.estimated": 0.5,
        "prompt_tokens.mean": 6,
        "expect.met_rate": 0.5,
    }


def test_batch_sizes_are_over_batches_not_requests() -> None:
    rows = [row(0, 1, batch_size=size) for size in [1] * 2 + [4] * 8]
    found = batches(rows)
    assert found["batch_size.mean"] == pytest.approx(10 / 4)
    assert found["batch_size.max"] == 4
    assert (found["batch_size.hist.1"], found["batch_size.hist.4"]) == (2, 2)
    assert batches([row(0, 1)]) == {"batch_size.mean": None, "batch_size.max": None}


def test_stages_and_what_is_outside_them_are_the_latency() -> None:
    rows = [row(0, 0.1, queue_ms=20.0, generate_ms=70.0), row(0, 0.2, queue_ms=100.0, generate_ms=90.0)]
    found = stages(rows)
    assert found["stage_ms.queue.mean"] == 60
    assert found["stage_ms.generate.max"] == 90
    assert found["outside_ms.mean"] == pytest.approx(10)
    assert "stage_ms.embed.mean" not in found


def test_goodput_is_a_share_of_all_requests() -> None:
    rows = [row(0, 0.1), row(0, 0.3), row(0, 0.1, outcome=REJECTED), row(0, 0.1)]
    found = goodput(rows, 6.0, {"e2e_ms": 200})
    assert found == {
        "slo_ms": 200,
        "slo.e2e_ms": 200,
        "goodput": 0.5,
        "goodput_rps": 4.0,
        "goodput.e2e_ms": 0.5,
    }
    assert goodput(rows, 6.0, {}) == {}


def test_a_request_is_good_where_it_meets_all_limits_and_each_limit_has_a_share_of_its_own() -> None:
    def streamed(first_s: float, done_s: float, pieces: int = 5) -> Row:
        return row(0, done_s, first_text_s=first_s, tokens=5, itl_ms=array("f", [1.0] * (pieces - 1)))

    rows = [
        streamed(0.1, 0.5),  # tpot 100 ms
        streamed(0.3, 0.5),  # late to begin
        streamed(0.1, 0.9),  # tpot 200 ms
        streamed(0.1, 0.1, pieces=1),  # all at once: no tpot to miss
        row(0, 0.1, outcome=REJECTED),
    ]
    found = goodput(rows, 8.0, {"ttft_ms": 200, "tpot_ms": 101, "e2e_ms": 600})
    shares = {name: found[f"goodput.{name}"] for name in ("ttft_ms", "tpot_ms", "e2e_ms")}
    assert shares == {"ttft_ms": 0.6, "tpot_ms": 0.6, "e2e_ms": 0.6}
    assert (found["goodput"], found["goodput_rps"]) == (0.4, 4.0)


def test_latency_counts_from_the_intended_time() -> None:
    late = row(1.0, 3.0)
    late.sent_s = 2.5
    values, _ = summarise([[late]], limits={})
    assert values["e2e_ms.mean"] == pytest.approx(2000)
    assert values["dispatch_delay_ms.max"] == pytest.approx(1500)


def test_repeats_are_pooled_and_their_spread_told() -> None:
    fast = [row(i, i + 1, tokens=10) for i in range(4)]
    slow = [row(2 * i, 2 * i + 2, tokens=10) for i in range(4)]
    values, samples = summarise([fast, slow], limits={})
    assert values["requests"] == 8
    assert samples["throughput_rps"] == [1.0, 0.5]
    assert values["throughput_rps"] == 0.75
    assert values["throughput_rps.spread"] == pytest.approx(0.5 / 0.75)
    assert values["output_tokens_per_s"] == 7.5
    assert samples["e2e_ms.mean"] == [1000, 2000]
    assert summarise([fast], {})[0]["throughput_rps.spread"] is None


def test_replicas_are_told_apart_where_there_are_several() -> None:
    rows = [row(0, ms / 1e3, replica="a") for ms in (100, 200, 300)] + [row(0, 2.0, replica="b")]
    found = replicas(rows)
    assert {name: value for name, value in found.items() if name.startswith("replica.a.")} == {
        "replica.a.requests": 3,
        "replica.a.e2e_ms.p25": pytest.approx(150),
        "replica.a.e2e_ms.p50": pytest.approx(200),
    }
    assert found["replica.b.requests"] == 1
    assert replicas(rows[:3]) == replicas([row(0, 1)]) == {}


def test_a_new_replica_with_each_answer_does_not_fill_the_record() -> None:
    rows = [row(0, 1, replica=f"pod-{i}") for i in range(1000)] + [row(0, 1, replica="usual")] * 2
    found = replicas(rows)
    assert len(found) == 3 * 64
    assert found["replica.usual.requests"] == 2


def test_each_turn_of_a_session_has_its_own_figures() -> None:
    rows = [
        Row(0, 0, turn=turn, done_s=seconds, first_text_s=seconds / 2, prompt_tokens=tokens)
        for turn, seconds, tokens in ((0, 1.0, 10), (0, 3.0, 20), (1, 4.0, 50))
    ]
    assert turns(rows) == {
        "turn.0.requests": 2, "turn.0.e2e_ms.p50": 2000, "turn.0.ttft_ms.p50": 1000, "turn.0.prompt_tokens.mean": 15,
        "turn.1.requests": 1, "turn.1.e2e_ms.p50": 4000, "turn.1.ttft_ms.p50": 2000, "turn.1.prompt_tokens.mean": 50,
    }  # fmt: skip
    assert turns([Row(0, 0)]) == {}
    assert turns([Row(0, 0, turn=99)]) == {}
