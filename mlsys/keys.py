"""A service's key is named (`env:NAME` or `file:PATH`), never written out.

Hydra keeps copies of what it was given: overrides, configuration, a directory named after both. A key written out would
stay in all of them, so it is refused before Hydra starts, or, where a configuration file holds it, before anything is
measured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlsys.errors import UserError

HIDDEN = "***"
REFUSED = "server.api_key must be env:NAME or file:PATH, where the key is: a key itself would stay in files"
SOURCES = ("env:", "file:")
FILE_BYTES = 65536
GIVEN = re.compile(r"""(api_key['"]?\s*[=:]\s*)(.*?)(?=,[\w.@/+~-]+=|$)""", re.DOTALL)


def is_literal(value: object) -> bool:
    """Whether `value` is a key itself and not the name of the variable or file that holds it."""
    return bool(value) and not str(value).startswith(SOURCES)


def read(value: str | None, option: str = "server.api_key") -> str | None:
    """The key that `value` names: of a file its first. Raises UserError as `read_all`."""
    found = read_all(value, option)
    return found[0] if found else None


def read_all(value: str | None, option: str = "server.api_key") -> list[str]:
    """All keys that `value` (`env:NAME`, `file:PATH` or None) names.

    A file has one key a line; empty lines and those that begin with `#` do not count.
    Raises UserError: a key itself, a variable that is empty, a file that cannot be read or has none.
    """
    if value is None:
        return []
    if is_literal(value):
        raise UserError(REFUSED.replace("server.api_key", option))
    if value.startswith("file:"):
        return _in_file(Path(value.removeprefix("file:")), f"{option}={value}")
    key = os.environ.get(value.removeprefix("env:"), "")
    if not key:
        raise UserError(f"{option}={value} is empty: name a variable that holds the key (env:NAME), or null")
    return [key]


def _in_file(path: Path, told: str) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        lines = [line.strip() for line in content.decode().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{told} cannot be read: {error}") from None
    if len(content) > FILE_BYTES:
        raise UserError(f"{told} is larger than {FILE_BYTES} bytes")
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UserError(f"{told} holds no key: write one a line")
    return found


def check_words(words: Iterable[str]) -> None:
    """Raise UserError if one of the command line's `words` holds a key itself."""
    if any(hide(word) != word for word in words):
        raise UserError(REFUSED)


def check(config: Any) -> None:
    """Raise UserError if the configuration (plain values) holds a key itself, wherever it stands."""
    if without(config) != config:
        raise UserError(REFUSED)


def hide(text: str) -> str:
    """`text`, an override or several with commas between them, with `***` in a key's place."""
    return GIVEN.sub(lambda given: given[0] if _names(given[2]) else given[1] + HIDDEN, text)


def without(config: Any) -> Any:
    """The configuration as it may be shown, with `***` in a key's place."""
    if isinstance(config, list):
        return [without(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        name: HIDDEN if name == "api_key" and is_literal(value) else without(value)
        for name, value in config.items()
    }


def remove_copies(directory: Path, subdirectory: str | None, sweep: Path | None) -> None:
    """Remove the copies of a refused configuration that Hydra left in the run's `directory` and in its `sweep`."""
    copies = list((directory / subdirectory).glob("*.yaml")) if subdirectory else []
    for path in [*copies, *([sweep / "multirun.yaml"] if sweep else [])]:
        path.unlink(missing_ok=True)


def _names(values: str) -> bool:
    """Whether each of `values`, as an override or a sweep writes them, is the name of a variable or nothing."""
    pieces = [piece.strip("'\" []{}") for piece in values.split(",")]
    return not any(is_literal(piece) for piece in pieces if piece != "null")
