"""What a file must hold to be read as a record: a record may come from anywhere, and who draws relies on its types.

A value is free where a reader asks for nothing but a scalar; a part that readers look into has its type here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
MOST_BYTES = 256 * 2**20
MOST_DIGITS = 308  # a longer whole number is no float
SHOWN_CHARACTERS = 60

Check = Callable[[Any], bool]


def load(file: Path) -> dict[str, Any]:
    """The content of a record's file, of which `check` finds nothing wrong. Raises ValueError with the reason."""
    if not file.is_file():
        raise ValueError("it is no file")
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    text = file.read_text("utf-8")
    try:
        content = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if "\\ud" in text.lower():  # half a surrogate pair: valid JSON that no page can be written with
        json.dumps(content, ensure_ascii=False).encode()
    check(content)
    return content  # type: ignore[no-any-return]


def check(content: Any) -> None:
    """Raise ValueError naming the first field that is missing or is not what it must be."""
    if not isinstance(content, dict):
        raise ValueError(f"it is {_shown(content)}")
    if content.get("schema") != SCHEMA:
        raise ValueError(f"schema {_shown(content.get('schema'))}, this version reads {SCHEMA}")
    _fields("", content, FIELDS, required=True)
    _fields("config.", content["config"], CONFIG, required=False)
    environment = content["environment"]
    _fields("environment.", environment, ENVIRONMENT, required=False)
    for moment in ("before", "after"):
        _fields(f"environment.{moment}.", environment.get(moment) or {}, MOMENT, required=False)


def _fields(prefix: str, content: Mapping[str, Any], checks: Mapping[str, Check], required: bool) -> None:
    for name, is_right in checks.items():
        if name not in content:
            if required:
                raise ValueError(f"it has no {prefix}{name}")
        elif not is_right(content[name]):
            raise ValueError(f"{prefix}{name} is {_shown(content[name])}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it has a whole number of {len(digits)} digits")
    return int(digits)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _sample(value: Any) -> bool:
    """A number; nan and infinity stand as text."""
    return not isinstance(value, bool) and (
        isinstance(value, (int, float)) or (_text(value) and value in ("nan", "inf", "-inf"))
    )


def _or_null(is_right: Check) -> Check:
    return lambda value: value is None or is_right(value)


def _list_of(is_right: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _values(is_right: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


FIELDS: dict[str, Check] = {
    "workload": _text,
    "command": _list_of(_text),
    "config": _mapping,
    "config_digest": _text,
    "environment": _mapping,
    "started_at": _text,
    "finished_at": _or_null(_text),
    "status": lambda value: value in ("ok", "failed"),
    "error": _or_null(_text),
    "results": _values(_scalar),
    "levels": _list_of(_values(_scalar)),
    "samples": _values(_list_of(_sample)),
}
CONFIG: dict[str, Check] = dict.fromkeys(
    (
        *(
            "metric",
            "reduction",
            "data",
            "search",
            "pairs",
            "cdist",
            "server",
            "batching",
            "scheduling",
            "balancer",
            "loadtest",
        ),
        *("corpus", "embedder", "retriever", "reranker", "generator", "tracking", "compare"),
    ),
    _or_null(_mapping),
)
ENVIRONMENT: dict[str, Check] = {
    **dict.fromkeys(
        ("hardware", "before", "after", "versions", "git", "thread_variables"), _or_null(_mapping)
    ),
    "load_average": _or_null(_list_of(_sample)),
}
MOMENT: dict[str, Check] = {"gpus": _or_null(_list_of(_mapping))}
