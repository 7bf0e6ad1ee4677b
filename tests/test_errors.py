"""One line for what went wrong, out of many."""

from __future__ import annotations

import pytest

from mlsys.errors import last_words

TRACEBACK = """loading
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    import httptools
ModuleNotFoundError: No module named 'httptools'
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("one\n\nerror: server.port=9 is taken\n\n", "server.port=9 is taken"),
        (TRACEBACK, "ModuleNotFoundError: No module named 'httptools'"),
        (TRACEBACK + "a thread says goodbye\n", "ModuleNotFoundError: No module named 'httptools'"),
        (
            TRACEBACK.replace("'httptools'", "'first'") + TRACEBACK,
            "ModuleNotFoundError: No module named 'httptools'",
        ),
        ("Traceback (most recent call last):\n  cut short", "cut short"),
        ("", "it printed nothing"),
    ],
)
def test_the_line_that_says_why_a_program_ended(output: str, line: str) -> None:
    assert last_words(output) == line
