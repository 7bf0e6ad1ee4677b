"""`python -m mlsys.serve CONFIG.yaml`: one serving process from a resolved configuration.

Used by the serving benchmark, by the balancer for its replicas, and by anyone who keeps a `config.yaml`.
Prints `serving on ADDRESS` once requests are answered. A mistake in the configuration is one line and exit
status 2.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mlsys import interrupts, signatures
from mlsys.errors import ProcessEnded, UserError
from mlsys.faults import wall_clock
from mlsys.quantities import limit_threads
from mlsys.serving.process import USER_ERROR_CODE


def main(arguments: list[str]) -> int:
    """Serve the configuration in the file `arguments[0]`; returns the exit status."""
    if len(arguments) != 1:
        print("error: usage: python -m mlsys.serve CONFIG.yaml", file=sys.stderr)
        return USER_ERROR_CODE
    try:
        return serve(Path(arguments[0]))
    except (ProcessEnded, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if (mistake := _mistake(error)) is None:
            raise
        print(f"error: {mistake}", file=sys.stderr)
        return USER_ERROR_CODE


def serve(path: Path) -> int:
    """Check everything, take the port, then build and serve."""
    mode, config = checked(path)
    wall_clock.install(mode.label)
    limit_threads(mode.threads)
    from mlsys.serving import parts
    from mlsys.serving.http import server
    from mlsys.serving.reloading import Reload

    built = parts.of(config, path.resolve().parent)
    if hasattr(mode, "run"):  # it serves in processes of its own
        return int(mode.run(built))
    listener = server.bind(mode.host, mode.port)
    with listener:
        service = mode.service(built)
        return server.run(service, mode, listener, Reload(lambda: checked(path), service))


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
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not isinstance(config.get("server"), dict):
        raise UserError(f"{path}: no server section: choose one, server=batch for example")
    return config


if __name__ == "__main__":
    interrupts.leave_at_once(0)  # until it serves, when a stop lets running work end
    sys.exit(main(sys.argv[1:]))
