"""An answer's text token by token: whole characters only, together the answer's text."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlsys.rag.generator.chat import Chat
from mlsys.rag.generator.pieces import Words
from mlsys.rag.generator.vocabulary import build

chat = cache(lambda: Chat(build(600), None))


def tokenizer() -> Any:
    return chat()._tokenizer


@given(st.text(max_size=40))
def test_pieces_of_a_text_never_split_a_character_and_together_are_the_text(text: str) -> None:
    pieces = chat().pieces()
    told = [pieces.add(token) for token in tokenizer()(text)["input_ids"]]
    assert "".join(told) == text
    assert not any("�" in piece for piece in told) or "�" in text


@given(st.lists(st.integers(3, 599), max_size=30))
def test_pieces_of_any_tokens_begin_their_text(ids: list[int]) -> None:
    pieces = chat().pieces()
    told = "".join(map(pieces.add, ids))
    assert tokenizer().decode(ids, skip_special_tokens=True).startswith(told)


def test_nothing_comes_after_an_end_token() -> None:
    pieces = chat().pieces()
    (end,) = chat().ends
    ids = tokenizer()("Yes. No.")["input_ids"]
    assert "".join(map(pieces.add, [*ids, end, *ids])) == "Yes. No."


def test_words_have_spaces_between_them() -> None:
    words = Words(str)
    assert [words.add(token) for token in (1, 2, 3)] == ["1", " 2", " 3"]
