"""What a section of the configuration names, made of its knobs, which are held against what its class takes.

A new policy is one module and one YAML file: the file states each default, its constructor's annotations (or else its
own defaults) say what a knob is, and its code which values make sense.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mlsys.errors import UserError

VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


def make(group: str, section: Mapping[str, Any]) -> Any:
    """The object whose class `section` names with `_target_`. Raises UserError as `check`, and for what it refuses."""
    if "_target_" not in section:
        raise UserError(f"{group} has values but no option is chosen: its section names no _target_")
    target = pkgutil.resolve_name(section["_target_"])
    check(group, section, target)
    return target(**{knob: value for knob, value in section.items() if not knob.startswith("_")})


def check(group: str, section: Mapping[str, Any], target: Callable[..., Any]) -> None:
    """Raise UserError for a knob that `target` does not take, or needs, or whose value is of another type."""
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
            if get_origin(hint) is list and not isinstance(value, list):
                raise UserError(f"{group}.{knob}={shown} is no list: write {group}.{knob}=[{shown}]")
            raise UserError(f"{group}.{knob}={shown} must be {_words(hint)}")
    for knob, one in taken.items():
        if knob not in section and one.default is one.empty and one.kind not in VARIABLE:
            raise UserError(f"{group}={section.get('name')} needs {group}.{knob}, of which nothing is said")


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
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(one, *get_args(hint)) for one in value)
    if hint not in WORDS:
        return True
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    if get_origin(hint) is list:
        return f"a list, each {_words(*get_args(hint))}"
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return " or ".join(dict.fromkeys(WORDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds))
