from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import virtual_time
from hypothesis import given
from hypothesis import strategies as st
from sections import arrivals

from mlsys.loadtest.arrivals import ArrivalProcess
from mlsys.loadtest.driver import Driver
from mlsys.loadtest.phases import MEASURED, Phases
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.rows import FAILED, OK, Row
from mlsys.loadtest.sessions import following, sessions


def questions(count: int) -> list[Question]:
    return [Question(i, f"q{i}", i) for i in range(count)]


def turns_of(head: Question) -> list[int]:
    return [head.id, *(question.id for question in head.then)]


def test_questions_that_stand_alone_are_put_together() -> None:
    assert [turns_of(head) for head in sessions(questions(7), 3)] == [[0, 1, 2], [3, 4, 5]]
    assert sessions(questions(3), 1) == questions(3)


@given(st.integers(1, 9), st.integers(1, 9))
def test_no_question_has_two_histories(count: int, turns: int) -> None:
    heads = sessions(questions(count), turns)
    ids = [one for head in heads for one in turns_of(head)]
    assert heads
    assert len(ids) == len(set(ids))
    assert all(len(turns_of(head)) == turns for head in heads)


def test_conversations_of_a_file_are_cut() -> None:
    talk = replace(questions(1)[0], then=tuple(questions(4)[1:]))
    alone = Question(9, "q9", None)
    assert [turns_of(head) for head in sessions([talk, alone], 3)] == [[0, 1, 2], [9]]
    assert [turns_of(head) for head in sessions([talk, alone], 1)] == [[0], [9]]


def test_each_question_follows_all_that_was_said() -> None:
    (head,) = sessions(questions(3), 3)
    second = following(head, "a0")
    assert second is not None
    third = following(second, "a1")
    assert third is not None
    said = [(one["role"], one["content"]) for one in third.history]
    assert said == [("user", "q0"), ("assistant", "a0"), ("user", "q1"), ("assistant", "a1")]
    assert (third.id, third.text, following(third, "a2")) == (2, "q2", None)
    assert following(head, None) is None


class Answering:
    """Answers each question after a second, with what it was told before."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        await asyncio.sleep(1.0)
        row.done_s = clock()
        row.outcome = FAILED if question.text == self.failing else OK
        row.text = f"a{len(question.history)}" if row.outcome == OK else None

    async def get(self, path: str) -> Any:
        return None


def run(service: Answering, process: ArrivalProcess, warmup: int, requests: int) -> list[Row]:
    phases = Phases(warmup, requests, None, keep_load=not process.open_loop)
    work = Driver(service, lambda: None).run(
        process, phases, Order(sessions(questions(9), 3), 0), lambda _: Row(0, 0), think_time_s=4.0
    )
    return virtual_time.run(work).rows


def test_a_user_thinks_between_turns_and_others_come_meanwhile() -> None:
    rows = run(Answering(), arrivals("constant", request_rate=0.5).process(0.5, 0), 0, 12)
    first = [row for row in rows if row.session == 0]
    assert [(row.turn, row.intended_s, row.done_s) for row in first] == [(0, 0, 1), (1, 5, 6), (2, 10, 11)]
    assert [row.intended_s for row in rows if row.turn == 0] == [0, 2, 4, 6, 8, 10]
    assert len(rows) == 12
    assert [row.id for row in rows] == list(range(12))


def test_a_closed_loop_counts_sessions_and_measures_as_many_requests_as_asked_for() -> None:
    rows = run(Answering(), arrivals("closed", concurrency=2).process(2, 0), 3, 10)
    assert sum(row.phase == MEASURED for row in rows) == 10
    assert {row.session for row in rows if row.intended_s < 10} == {0, 1}
    assert [row.intended_s for row in rows if row.session == 0] == pytest.approx([0, 5, 10])


def test_a_session_ends_with_an_answer_that_is_none() -> None:
    rows = run(Answering("q1"), arrivals("constant", request_rate=0.1).process(0.1, 0), 0, 6)
    broken = {row.session for row in rows if row.outcome == FAILED}
    assert broken
    for session in broken:
        assert max(row.turn or 0 for row in rows if row.session == session) == 1


def test_rows_of_questions_that_stand_alone_are_of_no_session() -> None:
    phases = Phases(0, 2, None, keep_load=False)
    process = arrivals("constant", request_rate=1).process(1, 0)
    work = Driver(Answering(), lambda: None).run(process, phases, Order(questions(3), 0), lambda _: Row(0, 0))
    assert [row.session for row in virtual_time.run(work).rows] == [None, None]
