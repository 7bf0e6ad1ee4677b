"""What a section of the configuration names, made of its knobs, which are held against what its class takes.

An option is one module and one YAML file: the file states each default, its constructor's annotations (or else its
own defaults) say what a knob is, and its code which values make sense.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, Unpack, get_args, get_origin, get_type_hints

from mlsys import extras
from mlsys.errors import UserError

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


def make(group: str, section: Mapping[str, Any]) -> Any:
    """The object whose class `section` names with `_target_`. Raises UserError as `check`, and for what it refuses."""
    if "_target_" not in section:
        raise UserError(f"{group} has values but no option is chosen: its section names no _target_")
    target = named(group, section)
    taken = check(group, section, target)
    return target(**{knob: value for knob, value in taken.items() if not knob.startswith("_")})


def named(group: str, section: Mapping[str, Any]) -> Callable[..., Any]:
    """What `section` names with `_target_`. Raises UserError where it is not there, or its extra is not."""
    module, _, name = str(section["_target_"]).rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(extras.missing(error.name or "") or f"{group}._target_: {error}") from error
    except (AttributeError, ValueError) as error:
        raise UserError(f"{group}._target_={section['_target_']} is not there: {error}") from error
    return found


def check(group: str, section: Mapping[str, Any], target: Callable[..., Any]) -> dict[str, Any]:
    """The section with each value as `target` takes it: 5 as 5.0 for a number, a folder named 2024 as text.

    Raises UserError for a knob that `target` does not take, for a value of another type, and for a knob left out.
    """
    taken, open_ended = _knobs(target)
    found = dict(section)
    option = f"{group}={section.get('name')}"
    for knob, value in section.items():
        if knob.startswith("_") or (knob not in taken and open_ended):  # Hydra has words of its own
            continue
        if knob not in taken:
            raise UserError(f"{option} has no {knob}; it has {', '.join(taken)}")
        hint, _ = taken[knob]
        found[knob] = value = _converted(value, hint)
        if not _fits(value, hint):
            shown = "null" if value is None else value
            if get_origin(hint) is list and not isinstance(value, list):
                raise UserError(f"{group}.{knob}={shown} is no list: write {group}.{knob}=[{shown}]")
            raise UserError(f"{group}.{knob}={shown} must be {_words(hint)}")
    for knob, (_, needed) in taken.items():
        if needed and knob not in section:
            raise UserError(f"{group}.{knob} is missing")
    return found


@functools.lru_cache(maxsize=256)
def _knobs(target: Callable[..., Any]) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """What each knob takes and whether it must be given; and whether any other is taken as well."""
    hints = _hints(target)
    knobs: dict[str, tuple[Any, bool]] = {}
    open_ended = False
    for name, one in inspect.signature(target).parameters.items():
        hint = hints.get(name, _of_default(one.default))
        if one.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        if one.kind is not inspect.Parameter.VAR_KEYWORD:
            knobs[name] = (hint, one.default is inspect.Parameter.empty)
        elif get_origin(hint) is Unpack:  # knobs that several classes share
            (shared,) = get_args(hint)
            knobs |= {knob: (kind, True) for knob, kind in get_type_hints(shared).items()}
        else:
            open_ended = True
    return knobs, open_ended


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(vars(_maker(target))["__init__"] if isinstance(target, type) else target)
    except (NameError, TypeError):  # annotations that only a type checker can follow say nothing here
        return {}


def _maker(target: type) -> type:
    """The class whose constructor makes a `target`: itself, or the first above it that has one."""
    return next(kind for kind in target.__mro__ if "__init__" in vars(kind))


def _of_default(default: Any) -> Any:
    """What a knob without annotation takes: what its default is, and any number where that is one."""
    kind = type(default)
    return float if kind is int else kind if kind in (float, bool, str) else Any


def _converted(value: Any, hint: Any) -> Any:
    """What Hydra read as a whole number and is text or any number here; what a variable gave as text."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if type(value) is int and int not in kinds:
        return float(value) if float in kinds else str(value) if str in kinds else value
    if isinstance(value, str) and str not in kinds:
        for kind in (int, float):
            if kind in kinds and (read := _number(value, kind)) is not None:
                return read
        return {"true": True, "false": False}.get(value.lower(), value) if bool in kinds else value
    return value


def _number(value: str, kind: type[int] | type[float]) -> float | None:
    try:
        return kind(value)
    except ValueError:
        return None


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
