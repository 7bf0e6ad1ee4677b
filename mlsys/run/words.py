"""Paths and names on the command line as their user typed them.

Hydra gives brackets, commas, `~`, `#` and what is not ASCII a meaning of its own, or none. Where an option takes a path
or a name, its word is put into Hydra's quotes if Hydra cannot read it, or would read something else than the file that
is there.
"""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

OPTIONS = (
    "data.x",
    "data.y",
    "data.x_key",
    "data.y_key",
    "corpus.path",
    "embedder.model",
    "generator.model",
    "hydra.run.dir",
    "hydra.sweep.dir",
)


def readable(words: Iterable[str]) -> list[str]:
    """`words` as Hydra can read them; with -m or --multirun commas separate values, unless a file is named so."""
    words = list(words)
    sweeps = any(
        word == "--multirun" or (word[:1] == "-" and word[1:2] != "-" and "m" in word) for word in words
    )
    return [_readable(word, sweeps) for word in words]


def hint(override: str) -> str:
    """The word to type in a shell so that the override's value is taken as it stands."""
    option, _, value = override.partition("=")
    return shlex.quote(f"{option}={_quoted(value)}")


def _readable(word: str, sweeps: bool) -> str:
    option, equals, value = word.partition("=")
    if not equals or option.lstrip("+") not in OPTIONS:
        return word
    if option.startswith("hydra."):  # Hydra would make a folder of the name ~
        value = os.path.expanduser(value)
    values = value.split(",") if sweeps and not _exists(value) else [value]
    return f"{option}={','.join(text if _is_read(option, text) else _quoted(text) for text in values)}"


def _is_read(option: str, value: str) -> bool:
    """Whether Hydra reads `value` as a text that is the same, or at least not as another than a file's name."""
    try:
        read = OverridesParser.create().parse_override(f"{option}={value}").value()
    except HydraException:
        return False
    return ("${" not in value and read == value) or not _exists(value)


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return False


def _quoted(value: str) -> str:
    return str(QuotedString(value.replace("${", r"\${"), Quote.double).with_quotes())


def schedules(words: Iterable[str]) -> list[str]:
    """`fault=[kill,stop]` as `fault=schedule fault.faults=[kill,stop]`: Hydra would keep the last one alone."""
    found = []
    for word in words:
        option, _, value = word.partition("=")
        scheduled = option == "fault" and value.startswith("[") and value.endswith("]")
        found += ["fault=schedule", f"fault.faults={value}"] if scheduled else [word]
    return found
