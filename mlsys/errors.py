"""The one exception that means: the user asked for something that cannot be; and how an error becomes one line."""


class UserError(ValueError):
    """A mistake in what was asked for. Its text is one line that names the option and the value."""


def one_line(error: BaseException) -> str:
    """The first line of an error's text that says something, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
