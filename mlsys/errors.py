"""The one exception that means: the user asked for something that cannot be; it is shown as one line."""


class UserError(ValueError):
    """A mistake in what was asked for. Its text is one line that names the option and the value."""
