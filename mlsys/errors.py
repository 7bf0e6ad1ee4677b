"""What is said in one line: a user's mistake, the end of a process that we started, any other error."""

import re
import sys
from collections.abc import Callable

from mlsys import extras

MISUSE = 2  # the exit status of a command that was given something wrong


class UserError(ValueError):
    """A mistake in what was asked for. Its text is one line that names the option and the value."""


class ProcessEnded(RuntimeError):
    """A process that we started has ended by itself. Its text ends with the last line of that process's own error."""


def last_words(output: str) -> str:
    """The line of a program's output that says why it ended: its own `error: …` at the end, a traceback's error, else
    the last line.
    """
    lines = [line for line in output.splitlines() if line.strip()]
    if lines and lines[-1].startswith("error: "):
        return lines[-1].strip().removeprefix("error: ")
    begins = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if begins:
        lines = [line for line in lines[begins[-1] + 1 :] if not line[0].isspace()][:1] or lines[-1:]
    return lines[-1].strip() if lines else "it printed nothing"


def one_line(error: BaseException) -> str:
    """The first line of an error's text that says something, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def cause(error: BaseException) -> str:
    """One line of what an error that nobody expected is: of a file its name and what the system said of it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {one_line(error)}"


def command(run: Callable[[], int]) -> int:
    """The exit status of a command line. A user's mistake, and what the system does not let it do, is one line."""
    try:
        return run()
    except UserError as error:
        said = one_line(error)
    except OSError as error:
        said = cause(error)
    print(said, file=sys.stderr)
    return MISUSE


def root(error: Exception) -> Exception:
    """The error that a configuration library wrapped: what a resolver or a constructor raised."""
    if match := re.match(r"UserError raised while resolving interpolation: (.*)", str(error)):
        return UserError(match[1])
    if isinstance(error.__cause__, UserError) or type(error).__name__ == "InstantiationException":
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, ModuleNotFoundError) and (line := extras.missing(error.name or "")):
        return UserError(line)
    return error
