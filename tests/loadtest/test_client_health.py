from __future__ import annotations

from mlsys.loadtest.client_health import Several, Watch, validity
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row


def rows(count: int = 100, gap_s: float = 0.1, late_s: float = 0.0, error: str | None = None) -> list[Row]:
    """Due every `gap_s`, each sent later than the one before by `late_s` more."""
    made = []
    for i in range(count):
        sent_s = i * (gap_s + late_s)
        one = Row(0, 0, id=i, phase=MEASURED, intended_s=i * gap_s, sent_s=sent_s, done_s=sent_s + 0.1)
        one.outcome, one.error = OK, error
        made.append(one)
    return made


def test_a_quick_client_is_valid() -> None:
    found = validity(rows(), [0.1] * 100, cpu_share=0.2, open_loop=True)
    assert (found["valid"], found["invalid_reason"]) == (True, None)
    assert found["client.max_lag_ms"] == 0.1


def test_one_hiccup_is_told_but_does_not_spoil_a_level() -> None:
    found = validity(rows(), [0.1] * 999 + [300.0], cpu_share=0.2, open_loop=True)
    assert (found["valid"], found["client.max_lag_ms"]) == (True, 300.0)


def test_a_late_event_loop_is_the_limit() -> None:
    found = validity(rows(), [0.1] * 90 + [50.0] * 10, cpu_share=0.2, open_loop=False)
    assert found["valid"] is False
    assert found["invalid_reason"] == "the client's event loop was late by 50 ms (p99; limit 20 ms)"


def test_a_client_behind_its_schedule_is_the_limit() -> None:
    found = validity(rows(late_s=0.02), [], cpu_share=0.2, open_loop=True)
    assert found["invalid_reason"] == "the client sent 8.333 of the 10 requests/s that were due"
    assert validity(rows(late_s=0.02), [], cpu_share=0.2, open_loop=False)["valid"] is True


def test_a_busy_client_is_the_limit() -> None:
    assert (
        validity(rows(), [], cpu_share=0.97, open_loop=False)["invalid_reason"]
        == "the client took 97 % of a core"
    )


def test_a_client_without_sockets_is_the_limit() -> None:
    found = validity(rows(3, error="ClientOSError: [Errno 24] Too many open files"), [], 0.1, open_loop=False)
    lack = "for lack of sockets on the client's side (ulimit -n, local ports)"
    assert found["invalid_reason"] == f"3 requests failed {lack}"


def test_each_of_several_clients_is_told() -> None:
    assert Several.describe([Watch()]) == {"client.processes": 1}
    one, two = Several([([1.0, 3.0], 0.5), ([7.0], 0.25)]), Several([([], 0.75)])
    assert (one.lags_ms, one.cpu_share) == ([1, 3, 7], 0.5)
    assert Several.describe([one, Several([([2.0], 0.1), ([], 0.9)])]) == {
        "client.processes": 2,
        "client.0.cpu_share": 0.5,
        "client.0.p99_lag_ms": 2.98,
        "client.1.cpu_share": 0.9,
        "client.1.p99_lag_ms": 7.0,
    }
    assert two.lags_ms == []
