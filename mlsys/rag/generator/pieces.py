"""An answer's text token by token. A character may take several tokens, and never comes in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Pieces(Protocol):
    """The pieces of one answer."""

    def add(self, token: int) -> str:
        """The text that this token completes, possibly none. All of them together begin the answer's text."""
        ...


class Decoded:
    """Pieces of a tokenizer of the `tokenizers` library, whose decoding stream keeps what is no character yet.

    Text ends at the first of the tokens in `ends`.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer, self._ends, self._ended = tokenizer, ends, False
        self._stream = DecodeStream(skip_special_tokens=True)

    def add(self, token: int) -> str:
        """What is a whole character now."""
        self._ended = self._ended or token in self._ends
        return "" if self._ended else self._stream.step(self._tokenizer, token) or ""


class Words:
    """Pieces of an answer that has a word for each token."""

    def __init__(self, word: Callable[[int], str]) -> None:
        self._word, self._lead = word, ""

    def add(self, token: int) -> str:
        """The word, after a space but for the first."""
        piece, self._lead = f"{self._lead}{self._word(token)}", " "
        return piece
