from __future__ import annotations

from collections import Counter

import pytest

from mlsys.loadtest.questions import Order, Question, Zipf

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


def test_popular_questions_are_asked_as_often_as_zipf_says() -> None:
    asked = Counter(Zipf(QUESTIONS, 1.0, 3, (0, 0))[i].id for i in range(20_000))
    harmonic = sum(1 / rank for rank in range(1, 11))
    expected = [20_000 / rank / harmonic for rank in range(1, 11)]
    assert sorted(asked.values(), reverse=True) == pytest.approx(expected, rel=0.1)


def test_levels_and_repeats_draw_anew_from_the_same_popularity() -> None:
    draws = [
        [Zipf(QUESTIONS, 2.0, 3, draw)[i].id for i in range(500)] for draw in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] != draws[3]
    assert len({Counter(draw).most_common(1)[0][0] for draw in draws}) == 1
