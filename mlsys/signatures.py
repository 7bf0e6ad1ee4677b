"""The values of a group's knobs held against what its class takes, where no dataclass has done so.

A new policy is one module and one YAML file: its constructor's annotations, or else its defaults, say what a knob is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mlsys.errors import UserError

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


def check(group: str, section: Mapping[str, Any], target: Callable[..., Any]) -> None:
    """Raise UserError for a knob that `target` does not take, or whose value is of another type than it takes."""
    taken = inspect.signature(target).parameters
    hints = _hints(target)
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    for knob, value in section.items():
        if knob.startswith("_") or (knob not in taken and open_ended):  # Hydra has words of its own
            continue
        if knob not in taken:
            raise UserError(f"{group}={section.get('name')} has no {knob}; it has {', '.join(taken)}")
        hint = hints.get(knob, _of_default(taken[knob].default))
        if not _fits(value, hint):
            shown = "null" if value is None else value
            raise UserError(f"{group}.{knob}={shown} must be {_words(hint)}")


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(vars(target).get("__init__", target) if isinstance(target, type) else target)
    except (NameError, TypeError):  # annotations that only a type checker can follow say nothing here
        return {}


def _of_default(default: Any) -> Any:
    """What a knob without annotation takes: what its default is, and any number where that is one."""
    kind = type(default)
    return float if kind is int else kind if kind in (float, bool, str) else Any


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint not in WORDS:
        return True
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return " or ".join(dict.fromkeys(WORDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds))
