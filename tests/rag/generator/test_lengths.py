"""When a batch has written enough."""

import torch

from mlsys.rag.generator.lengths import Lengths, cut


def test_cut_keeps_the_first_end_token() -> None:
    assert cut([5, 2, 7, 2], frozenset({2})) == [5, 2]
    assert cut([5, 7], frozenset({2})) == [5, 7]


def test_a_batch_is_over_when_its_last_answer_is() -> None:
    answers = Lengths([1, 3, 4], [False, True, False], frozenset({2}))
    rows = torch.tensor([[5, 5, 5, 5], [2, 2, 2, 2], [5, 5, 2, 5]])
    assert [answers.all_ended(step, rows[:, step - 1 : step]) for step in (1, 2, 3)] == [False, False, True]
    assert answers.cut(rows[:, :3].tolist()) == [[5], [2, 2, 2], [5, 5, 2]]


def test_end_tokens_shorten_nothing_where_the_longest_answer_is_fixed() -> None:
    answers = Lengths([2, 3], [False, True], frozenset({2}))
    ended = torch.full((2, 3), 2)
    assert [answers.all_ended(step, ended[:, :step]) for step in (1, 2, 3)] == [False, False, True]
    assert answers.cut(ended.tolist()) == [[2], [2, 2, 2]]
