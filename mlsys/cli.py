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

from mlsys import config, follower, interrupts, keys, ranks, sweep, words
from mlsys.errors import UserError, one_line, root
from mlsys.interrupts import INTERRUPTED

MISUSE, FAILED = 2, 1


def call(run: Callable[[], object]) -> int:
    """Run a Hydra application. Returns 0, or 1 where a run failed, 2 for misuse, 130 after Ctrl-C.

    A traceback is shown only to who asks for it with HYDRA_FULL_ERROR=1. Of torchrun's ranks only rank 0 runs the
    application; the others measure with it.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(config.help_text())
        return 0
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing
    if ranks.size() > 1:
        interrupts.take(_terminate_once)
    else:
        interrupts.raise_interrupt()
    try:
        keys.check_words(sys.argv[1:])
        sys.argv[1:] = words.readable(sys.argv[1:])
        with ranks.together() as peers:
            if peers.rank > 0:
                follower.follow(peers)
            else:
                run()
    except KeyboardInterrupt:
        if ranks.size() == 1:
            interrupts.leave_on_second()
        if ranks.rank() == 0:
            interrupts.end_local_jobs()
            sweep.interrupted()
        return INTERRUPTED
    except ranks.LostRank as error:
        if ranks.rank() == 0:
            print(one_line(error), file=sys.stderr)
        return FAILED
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        print(explain(error), file=sys.stderr)
        return MISUSE
    finally:
        if ranks.size() > 1:
            _ignore_signals()
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
        reason = one_line(Exception(error.message))
        if reason.startswith(("LexerNoViableAlt", "token recognition")):
            reason = "a character that means something else here, or nothing"
        return f"{error.override}: {reason}; to take it as it stands: {words.hint(error.override)}"
    if match := re.match(r"Ambiguous value for argument '(.*)'", text):
        return f"{match[1]}: -m sweeps over commas; to take it as it stands: {words.hint(match[1])}"
    if match := re.match(r"Could not override '(.*)'", text):
        return f"there is no option {match[1]}; --help lists the options"
    if match := re.match(r"In '(.*)/(.*)': .*\nKey '.*' not in .*\n *full_key: (.*)\.(.*)", str(error)):
        preset, name, group, key = match.groups()
        return f"{preset}={name} sets {group}.{key}, which the {group} chosen here does not have: leave one of them out"
    if match := re.fullmatch(r"Error merging override (.*)", text):
        text = match[1]
    if cause is not None and (reason := one_line(cause)) not in text:
        text = f"{text}: {reason}"
    return text


def _terminate_once(number: int, frame: FrameType | None) -> None:
    """torchrun passes on a Ctrl-C that its ranks have heard too: what the first interrupt began is not stopped.

    Nor is a run that ends by itself because a rank is lost, of which torchrun's signal is the consequence.
    """
    _ignore_signals()
    if not ranks.here().lost:
        raise KeyboardInterrupt


def _ignore_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
