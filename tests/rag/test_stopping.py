"""Texts that end an answer."""

from __future__ import annotations

import pytest

from mlsys.rag import stopping
from mlsys.rag.item import Item


@pytest.mark.parametrize(
    ("text", "stops", "at"),
    [
        ("one two", ["two"], 4),
        ("one two", ["three"], None),
        ("one two", ["", "two"], 4),
        ("a b c", ["a b", " "], 1),
        ("a b c", ["b", "a b"], 0),
        ("aXaX", ["X"], 1),
    ],
)
def test_the_stop_that_is_whole_first_is_the_end_and_the_longest_of_several(
    text: str, stops: list[str], at: int | None
) -> None:
    assert stopping.place(text, stops) == at


def test_an_answer_ends_before_its_stop_and_says_so() -> None:
    item = Item("q", result="yes \nQuestion: no", tokens=9)
    stopping.cut(item, ["\nQuestion:"])
    assert (item.result, item.finish, item.tokens) == ("yes", "stop", 9)
