"""What of an answer may be shown while it is written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsys.rag.generator.text import Text


class Given:
    """Pieces that a test says, by number."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def add(self, token: int) -> str:
        return self._pieces[token]


def shown(pieces: list[str], *stops: str) -> tuple[list[str], Text]:
    """What is shown with each piece, until one of the stops."""
    text, told = Text(Given(pieces), stops), list[str]()
    for token in range(len(pieces)):
        told.append(text.add(token))
        if text.stopped:
            break
    return told, text


def test_spaces_are_held_back_until_something_follows() -> None:
    told, text = shown(["  ", " Cats", " ", "\n", "sleep", ". "])
    assert told == ["", "Cats", "", "", " \nsleep", "."]
    assert text.end("Cats \nsleep.") == ""


def test_no_part_of_a_stop_is_shown() -> None:
    told, text = shown(["One", "\n", "Two", "\n", "\nQ", "uest", "ion: x", "more"], "\n\nQuestion:", "XYZ")
    assert told == ["One", "", "\nTwo", "", "", "", ""]
    assert text.stopped
    assert text.shown == "One\nTwo"


def test_what_was_held_back_is_shown_once_it_is_no_stop() -> None:
    told, _ = shown(["a", "b", "x", "ab", "c"], "abc")
    assert told == ["", "", "abx", "", ""]


def test_at_the_end_the_rest_is_shown() -> None:
    told, text = shown(["a", "b"], "abc")
    assert told == ["", ""]
    assert text.end("ab") == "ab"
    assert text.shown == "ab"


def test_the_first_stop_of_several_ends_the_text() -> None:
    _, text = shown(["one two three"], "three", "two", "")
    assert text.shown == "one"


def test_the_stop_that_is_whole_first_ends_the_text_however_it_is_cut() -> None:
    for pieces in (["a b"], ["a", " ", "b"]):
        _, text = shown(pieces, "a b", " ")
        assert text.shown == "a"


@given(
    st.lists(st.text("ab \n", max_size=4), max_size=12),
    st.lists(st.text("ab \n", min_size=1, max_size=3), max_size=3),
)
def test_whatever_the_pieces_the_text_is_the_same(pieces: list[str], stops: list[str]) -> None:
    told, text = shown(pieces, *stops)
    longest = sorted(stops, key=len, reverse=True)
    whole = "".join(pieces).lstrip()
    wanted = next(
        (
            whole[: end - len(stop)]
            for end in range(len(whole) + 1)
            for stop in longest
            if whole.endswith(stop, 0, end)
        ),
        whole,
    ).rstrip()
    if not text.stopped:
        told.append(text.end(whole.rstrip()))
    assert "".join(told) == wanted == text.shown
