"""From the command line's mistakes and signals to one clear line and an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from mlsys import interrupts, keys, ranks
from mlsys.errors import MISUSE, UserError, cause, one_line, root
from mlsys.interrupts import INTERRUPTED
from mlsys.run import choices, config, follower, sweep, words

FAILED = 1
EXPLAINED = (UserError, HydraException, OmegaConfBaseException)
PLACES = "; MLSYS_OUTPUTS, hydra.run.dir and hydra.sweep.dir say where results go"
LISTS = (
    "baselines",
    "server.backends",
    "loadtest.concurrency",
    "loadtest.request_rate",
    "loadtest.rates",
    "loadtest.speed",
    "loadtest.output_tokens",
    "fault.faults",
)


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
        sys.argv[1:] = choices.filled(choices.without_bases(words.schedules(words.readable(sys.argv[1:]))))
        choices.check(sys.argv[1:])
        with ranks.together() as group:
            if group.rank > 0:
                follower.follow(group)
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
    except (*EXPLAINED, ValueError, OSError) as error:
        if full_error or not (isinstance(error, (*EXPLAINED, OSError)) or _is_hydras(error)):
            raise
        return _tell(error)
    finally:
        if ranks.size() > 1:
            _ignore_signals()
    return FAILED if sweep.failures else 0


def _tell(error: Exception) -> int:
    """Say in one line what went wrong. Returns the exit status."""
    if isinstance(error, OSError) and not isinstance(error, EXPLAINED):  # some of Hydra's are both
        print(f"{cause(error)}{PLACES if error.filename else ''}", file=sys.stderr)
        return FAILED
    print(explain(error, sys.argv[1:]), file=sys.stderr)
    return MISUSE


def explain(error: Exception, typed: Sequence[str] = ()) -> str:
    """One line that names the option and the value. `typed` is the command line."""
    error = root(error)
    text = one_line(error)
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
        return f"{match[1]}: -m sweeps over commas; {_as_one(match[1])}"
    if match := re.match(r"Could not override '(.*)'", text):
        return choices.missing(match[1], typed)
    return _merged(re.sub("^Error merging override ", "", text), error.__cause__)


def _as_one(override: str) -> str:
    """How to write several values as one: a list where the option takes one, else in quotes."""
    name, _, values = override.partition("=")
    if name in LISTS:
        return f"a list is written {name}=[{values}]"
    return f"to take it as it stands: {words.hint(override)}"


def _merged(text: str, reason: BaseException | None) -> str:
    if "is not a ListConfig" in str(reason) and (match := re.fullmatch(r"(.*?)=(.*)", text)):
        return f"{text} is no list: write {match[1]}=[{match[2]}]"
    return text if reason is None or one_line(reason) in text else f"{text}: {one_line(reason)}"


def _is_hydras(error: Exception) -> bool:
    """Whether Hydra raised it, of what it was asked to do. What our own code raises is no mistake of the user's."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(hydra.__file__).parent in Path(innermost).parents


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
