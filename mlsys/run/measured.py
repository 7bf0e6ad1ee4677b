"""A configuration on its way into its record, which is written after each part and closed whatever happens."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from mlsys import environment, keys, progress, ranks, record, signatures
from mlsys.errors import ProcessEnded, UserError, one_line, root
from mlsys.record import Record
from mlsys.record.knobs import is_used
from mlsys.run import interleave, live

STOPPED = "KeyboardInterrupt: stopped by the user; what was measured until then is kept"
_unused: set[tuple[str, str]] = set()  # what was said of words that change nothing


@dataclass
class Measured:
    """One configuration on its way into its record, in one go or, interleaved, in `rounds`.

    The sink is opened once, before anything is measured, and closed once, when no further round follows. `asked`:
    the options that the command line gave.
    """

    entry: Record
    plain: dict[str, Any]
    directory: Path
    label: str
    claim: live.Claim
    asked: frozenset[str] = frozenset()
    rounds: interleave.Rounds | None = None
    sink: Any = None

    def measure(self) -> bool:
        """Measure, or measure one more round. Returns whether another round is wanted."""
        entry, last = self.entry, self.rounds is None or self.rounds.last
        entry.write(self.directory)
        try:
            self._measure()
        except KeyboardInterrupt:
            entry.end(STOPPED)
            entry.write(self.directory)
            raise
        except Exception as error:
            fail(entry, error, self.directory, self.label)
        finally:
            more = entry.status == "ok" and not last
            if self.sink is not None and not more:
                _close(self.sink, entry)
            if not more:
                self.claim.release()
        return more

    def _measure(self) -> None:
        from mlsys.run.build import build, workload_kind

        entry, rounds = self.entry, self.rounds
        entry.workload = workload_kind(self.plain)
        with ranks.here().job(self.plain):
            workload = build(self.plain, self.directory, self.asked)
            _say_unused(entry.workload, entry.command)  # after what is wrong with them
            if self.sink is None:
                self.sink = signatures.make("tracking", self.plain["tracking"])
                self.sink.open(entry, self.directory)
            for part in rounds.measure(workload, entry.restart) if rounds else workload.measure():
                entry.add(part)
                entry.write(self.directory)
        entry.environment["after"] = environment.moment()
        entry.end()
        entry.write(self.directory)


def begun(plain: dict[str, Any], command: list[str]) -> Record:
    """The record of a configuration that is to be measured, without the values of keys."""
    public = keys.without(plain)
    return Record(
        workload="distance",
        command=[keys.hide(word) for word in command],
        config=public,
        config_digest=record.digest(public),
        environment=environment.describe(),
        started_at=record.now(),
    )


def fail(entry: Record, error: Exception, directory: Path, label: str) -> None:
    """Record the failure and say it in one line; only what failed in this very code leaves a traceback, in a file."""
    cause = root(error)
    entry.end(f"{type(cause).__name__}: {one_line(cause)}")
    entry.write(directory)
    progress.say(f"{label}{one_line(cause)}")
    if not isinstance(cause, (UserError, OmegaConfBaseException, ProcessEnded)):
        path = directory / "traceback.txt"
        path.write_text("".join(traceback.format_exception(error)))
        progress.say(f"the traceback is in {path}")


def _close(sink: Any, entry: Record) -> None:
    try:
        sink.close(entry)
    except Exception as error:
        progress.say(f"tracking: {one_line(error)}; record.json is complete")


def _say_unused(workload: str, words: Iterable[str]) -> None:
    """Name what was written on the command line and bears on another kind of workload, once a command."""
    for word in words:
        name = re.split(r"[.=@]", word.lstrip("+~"), maxsplit=1)[0]
        if not is_used(name, workload) and name != "server" and (workload, word) not in _unused:
            _unused.add((workload, word))
            progress.say(f"workload={workload} does not use {name}: {word} changes nothing")
