from __future__ import annotations

from mlsys.loadtest.questions import Order, Question

QUESTIONS = [Question(i, f"question {i}", i) for i in range(10)]


def test_every_question_once_in_each_round() -> None:
    order = Order(QUESTIONS, seed=1)
    first, second = ([order[i].id for i in turn] for turn in (range(10), range(10, 20)))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_seed_decides_and_nothing_else() -> None:
    one, again, other = ([Order(QUESTIONS, seed)[i].id for i in range(30)] for seed in (4, 4, 5))
    assert one == again != other
    assert Order(QUESTIONS, 4)[25].id == one[25]
