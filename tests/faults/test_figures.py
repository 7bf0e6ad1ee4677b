"""What requests and a course say of a fault: exact figures of a level that was made by hand."""

from __future__ import annotations

import pytest
from made_rows import row

from mlsys.faults.conductor import Course, Happened
from mlsys.faults.figures import describe
from mlsys.loadtest.rows import ABANDONED, FAILED, LEFT, REJECTED, TIMED_OUT, Row, table

BEGAN_AT = 1000.0


def level() -> list[Row]:
    """Ten answers a second for four seconds, none in the third; then one lost, one late, one refused, one left."""
    rows = [
        row(2 + tick / 10, 2.05 + tick / 10, request_id=str(tick))
        for tick in range(40)
        if not 20 <= tick < 30
    ]
    rows += [
        row(4.5, 4.6, outcome=FAILED, error="ClientOSError: [Errno 104]"),
        row(4.6, 4.7, outcome=TIMED_OUT, error="no answer within 1 s"),
        row(4.7, 4.8, outcome=REJECTED, error="status 503"),
        row(4.8, 4.9, outcome=ABANDONED, error=LEFT),
    ]
    for one in rows:
        one.started_at = BEGAN_AT
    return rows


def course(**changes: float | None) -> Course:
    broken = Happened("replica-1 was stopped", ["replica-1"], BEGAN_AT + 4, BEGAN_AT + 5, BEGAN_AT + 4.25)
    looks = [(BEGAN_AT + tick / 10, 1 if 42 <= tick < 55 else 2) for tick in range(70)]
    made = Course(BEGAN_AT, [broken], looks, BEGAN_AT + 5.5)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_times_count_from_the_first_measured_request() -> None:
    values, samples = describe(table(level()), course())
    assert values["fault.begin_s"] == pytest.approx(2)
    assert values["fault.lasted_s"] == pytest.approx(1)
    assert values["fault.noticed_s"] == pytest.approx(0.25)
    assert values["fault.whole_s"] == pytest.approx(0.5)
    assert samples["timeline.fault_s"] == pytest.approx([2, 3])


def test_the_lost_are_those_without_an_answer_and_neither_the_refused_nor_those_who_left() -> None:
    values, _ = describe(table(level()), course())
    assert (values["fault.lost"], values["fault.refused"], values["fault.left"]) == (2, 1, 1)


def test_the_worst_second_is_the_one_without_answers() -> None:
    values, samples = describe(table(level()), course())
    assert values["fault.before_rps"] == pytest.approx(10)
    assert (values["fault.worst_second_rps"], values["fault.worst_second_s"]) == (0, 2)
    assert samples["timeline.throughput_rps"][:4] == [10, 10, 0, 10]
    assert samples["timeline.replicas_up"][:4] == [2, 2, 1, 1]


def test_an_answer_with_the_id_of_another_was_given_twice() -> None:
    rows = level()
    rows[1].request_id = rows[0].request_id
    assert describe(table(rows), course())[0]["answered_twice"] == 1


def test_a_level_that_was_over_before_its_fault_says_that_nothing_happened() -> None:
    values, samples = describe(table(level()), course(happened=[], whole_at=None))  # type: ignore[arg-type]
    assert (values["fault.what"], values["fault.count"], values["fault.whole_s"]) == (None, 0, None)
    assert samples["timeline.fault_s"] == []
