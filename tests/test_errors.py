"""One line for what went wrong, out of many."""

from __future__ import annotations

import pytest

from mlsys.errors import UserError, command, last_words

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
        (TRACEBACK + "error: the engine's process has ended\n", "the engine's process has ended"),
        ("Traceback (most recent call last):\n  cut short", "cut short"),
        ("", "it printed nothing"),
    ],
)
def test_the_line_that_says_why_a_program_ended(output: str, line: str) -> None:
    assert last_words(output) == line


def test_a_command_tells_a_mistake_and_what_the_system_refuses_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(error: Exception) -> int:
        raise error

    assert command(lambda: 1) == 1
    assert command(lambda: failing(UserError("--rate=-1 must be more than 0\nmore"))) == 2
    assert command(lambda: failing(PermissionError(13, "Permission denied", "a/b.html"))) == 2
    assert capsys.readouterr().err == "--rate=-1 must be more than 0\na/b.html: Permission denied\n"
    with pytest.raises(KeyError):
        command(lambda: failing(KeyError("a fault of ours")))
