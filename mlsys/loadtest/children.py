"""The benchmark's helpers in processes of their own (load generator, bare engine) and their lines of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlsys.errors import ProcessEnded
from mlsys.serving.process import ChildProcess

POLL_S = 0.05
PACKAGE = Path(__file__).resolve().parents[2]


def events(
    module: str, argument: Path, log: Path, env: Mapping[str, str] | None, check: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    """Run `python -m module argument`, give its events (objects with `event`) as they come until `end`.

    `check` is called now and then and may raise. When the iteration ends, the process is gone.
    Raises ProcessEnded with the process's own error if it ended without `end`.
    """
    process = ChildProcess([sys.executable, "-m", module, str(argument)], environment(env), log)
    with process:
        said = lines(process)
        for line in said:
            event = parse(line)
            if event is not None:
                yield event
                if event["event"] == "end":
                    return
            elif line == "":
                check()
                time.sleep(POLL_S)
    raise ProcessEnded(f"{module} {process.ending()}")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child's environment needs: this very package, wherever the command runs, and `more`."""
    path = os.pathsep.join([str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, **(more or {})}


def lines(process: ChildProcess) -> Iterator[str]:
    """Whole lines of its output; an empty one when there is nothing new; stops when it has ended."""
    with process.log.open(errors="replace") as file:
        kept = ""
        while True:
            alive = process.alive
            kept += file.read()
            *whole, kept = kept.split("\n")
            yield from (line for line in whole if line)
            if not alive:
                return
            yield ""


def parse(line: str) -> dict[str, Any] | None:
    """The event in a line; None where it is another."""
    try:
        content = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None
