"""The one exception that means: the user asked for something that cannot be; and how an error becomes one line."""

import re


class UserError(ValueError):
    """A mistake in what was asked for. Its text is one line that names the option and the value."""


def one_line(error: BaseException) -> str:
    """The first line of an error's text that says something, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def root(error: Exception) -> Exception:
    """The error that a configuration library wrapped: what a resolver or a constructor raised."""
    if match := re.match(r"UserError raised while resolving interpolation: (.*)", str(error)):
        return UserError(match[1])
    if isinstance(error.__cause__, UserError) or type(error).__name__ == "InstantiationException":
        return error.__cause__ if isinstance(error.__cause__, Exception) else error
    return error
