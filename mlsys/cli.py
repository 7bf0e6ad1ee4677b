"""From the command line's mistakes and signals to one clear line and an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from types import FrameType

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from mlsys import keys, sweep
from mlsys.errors import UserError, one_line, root

MISUSE, FAILED, INTERRUPTED = 2, 1, 130


def call(run: Callable[[], object]) -> int:
    """Run a Hydra application. Returns 0, or 1 where a run failed, 2 for misuse, 130 after Ctrl-C.

    A traceback is shown only to who asks for it with HYDRA_FULL_ERROR=1.
    """
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing
    signal.signal(signal.SIGTERM, _terminate)
    try:
        keys.check_words(sys.argv[1:])
        run()
    except KeyboardInterrupt:
        sweep.interrupted()
        return INTERRUPTED
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        print(explain(error), file=sys.stderr)
        return MISUSE
    return FAILED if sweep.failures else 0


def explain(error: Exception) -> str:
    """One line that names the option and the value."""
    error = root(error)
    text, cause = one_line(error), error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = ", ".join(sorted(option for option in error.options if not option.startswith("_")))
        return f"{group}={name} is not an option; there are: {options}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {one_line(Exception(error.message))}"
    if match := re.match(r"Could not override '(.*)'", text):
        return f"there is no option {match[1]}; --help lists the options"
    if match := re.fullmatch(r"Error merging override (.*)", text):
        text = match[1]
    if cause is not None and (reason := one_line(cause)) not in text:
        text = f"{text}: {reason}"
    return text


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
