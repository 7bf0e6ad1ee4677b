"""What the processes of a service begin with: the configuration of their file, and one line where it is a mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mlsys import signatures
from mlsys.errors import MISUSE, ProcessEnded, UserError


def reported(serve: Callable[[], int]) -> int:
    """The exit status of `serve`; a user's mistake, or the end of a process that it needs, is one line."""
    try:
        return serve()
    except (ProcessEnded, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if (mistake := _mistake(error)) is None:
            raise
        print(f"error: {mistake}", file=sys.stderr)
        return MISUSE


def checked(path: Path) -> tuple[Any, dict[str, Any]]:
    """The mode that the file names, and its configuration with every knob of the mode. Raises UserError."""
    config = _read(path)
    mode = signatures.make("server", config["server"])
    if not (hasattr(mode, "service") or hasattr(mode, "run")):
        raise UserError(f"server={mode.name} is somebody else's service, it is not served")
    usual = config["generator"].get("max_new_tokens")
    if (
        mode.max_tokens is None and isinstance(usual, int) and usual > 0
    ):  # else the generator says what is wrong
        mode.max_tokens = usual
    config["server"] |= asdict(mode)
    return mode, config


def _mistake(error: BaseException | None) -> UserError | None:
    """The user's mistake at the bottom of an error, whatever wraps it."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _read(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = yaml.safe_load(path.read_text())
    except (
        OSError,
        ValueError,
        RecursionError,
        yaml.YAMLError,
    ) as error:  # also what is no text, or nested too deeply
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    for section, choice in (("server", "batch"), ("generator", "simulated")):
        if not isinstance(config, dict) or not isinstance(config.get(section), dict):
            raise UserError(f"{path}: no {section} section: choose one, {section}={choice} for example")
    return config
