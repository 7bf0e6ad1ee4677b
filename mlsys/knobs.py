"""What may be set: a class names its knobs with their types and limits, and a YAML file in conf/ gives their values.

A default stands in the YAML file alone, a type and its limits in the class alone. Making an object checks it (pydantic
does), so that a mistake is one line before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from mlsys.errors import UserError

T = TypeVar("T")

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

WORDS = {
    "Input should be": "must be",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "a valid integer": "a whole number",
    "a valid number, unable to parse string as a number": "a number",
    "a valid number": "a number",
    "a valid boolean, unable to interpret input": "true or false",
    "a valid string": "text",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
def knobs(group: str, *, frozen: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class the options of `group`: keyword arguments, checked. Raises UserError naming option and value."""

    def made(cls: type[T]) -> type[T]:
        checked: Any = dataclass(cls, config=ConfigDict(extra="forbid"), kw_only=True, frozen=frozen)
        construct = checked.__init__

        def __init__(self: Any, **values: Any) -> None:
            try:
                construct(self, **values)
            except ValidationError as error:
                raise UserError(_told(group, error)) from None

        checked.__init__ = __init__
        found: type[T] = checked
        return found

    return made


def _told(group: str, error: ValidationError) -> str:
    """The first fault in one line, in this project's words."""
    fault = error.errors(include_url=False)[0]
    option = ".".join([group, *(str(part) for part in fault["loc"][:1])])
    if fault["type"] == "missing":
        return f"{option} is not set"
    if fault["type"] == "unexpected_keyword_argument":
        return f"there is no option {option}"
    reason = fault["msg"]
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    return f"{option}={fault['input']} {reason}"
