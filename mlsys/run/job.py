"""One run: resolve, skip what is done, build, measure, record. A record is left behind whatever happens."""

from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mlsys import environment, keys, progress, ranks, record, signatures
from mlsys.errors import ProcessEnded, UserError, one_line, root
from mlsys.record import Record
from mlsys.record.knobs import is_used
from mlsys.run import choices, interleave, live
from mlsys.run.config import resolved

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
MEASURED_ELSEWHERE = "another process is measuring it just now"
STOPPED = "KeyboardInterrupt: stopped by the user; what was measured until then is kept"
_unused: set[tuple[str, str]] = set()  # what was said of words that change nothing


def run(config: DictConfig, hydra: Any, command: list[str], directory: Path) -> None:
    """Measure `config` into `directory`/record.json. Only an interrupt is raised; a failure stands in the record."""
    overrides = " ".join(map(keys.hide, hydra.overrides.task)) or "the defaults"
    sweep = Path(hydra.sweep.dir) if hydra.mode is not None and hydra.mode.name == "MULTIRUN" else None
    label = f"failed: {overrides}: " if sweep else ""
    asked = _asked(hydra)
    try:
        plain = _checked(config, hydra)
        if ranks.size() > 1:
            plain["ranks"] = ranks.size()
            _check_launcher(hydra, sweep)
        interleaved = _interleaved(plain, hydra, sweep)
    except (UserError, OmegaConfBaseException) as error:
        raw = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
        if keys.without(raw) != raw:
            keys.remove_copies(directory, hydra.output_subdir, sweep)
        _fail(_entry({"unresolved": raw}, command), error, directory, label)
        return
    progress.say(f"run: {overrides}")
    if sweep and (met := find_met(sweep, record.digest(plain))):
        progress.say(f"{overrides}: {met}")
        return
    if ranks.here().lost:
        progress.say(f"not run: {overrides}: {ranks.here().lost}")
        return
    claim = live.claim(directory)
    if claim is None and sweep:
        progress.say(f"{overrides}: {MEASURED_ELSEWHERE}, in {directory.name}")
        return
    if claim is None:
        raise UserError(f"{directory}: {MEASURED_ELSEWHERE}; hydra.run.dir=DIR names another directory")
    measured = _Job(_entry(plain, command), plain, directory, label, claim, asked)
    if interleaved:
        measured.rounds = interleave.Rounds(plain["compare"]["rounds"])
        interleave.defer(measured.measure)
        return
    measured.measure()


def _asked(hydra: Any) -> frozenset[str]:
    """The options that the command line gave."""
    return frozenset(word.partition("=")[0].lstrip("+") for word in hydra.overrides.task)


def _checked(config: DictConfig, hydra: Any) -> dict[str, Any]:
    """`config` as plain values of the right types. Raises UserError and OmegaConf's errors."""
    from mlsys.run.build import typed

    choices.check_preset(hydra.runtime.choices)
    plain = typed(resolved(config), {re.split(r"[.@]", name)[0] for name in _asked(hydra)})
    plain["clock"] = None if plain["clock"] == "real" else plain["clock"]
    keys.check(plain)
    return plain


def measured_before(config: DictConfig) -> str | None:
    """Where in its sweep a job, given with its section `hydra`, is measured, in words; None where it is not."""
    try:
        plain = _checked(_without_hydra(config), config.hydra)
    except (UserError, OmegaConfBaseException):
        return None  # the job says so in its record
    return find_met(Path(config.hydra.sweep.dir), record.digest(plain))


def record_lost(directory: Path, config: DictConfig, error: str) -> None:
    """Close the record of a job, given with its section `hydra`, whose process ended before it could."""
    try:
        entry = record.read(directory)
    except ValueError:  # it had not begun
        entry = _entry(
            _checked(_without_hydra(config), config.hydra), ["run.py", *config.hydra.overrides.task]
        )
    if entry.status != "ok":
        entry.end(error)
        directory.mkdir(parents=True, exist_ok=True)
        entry.write(directory)


def record_stopped(directory: Path) -> None:
    """Close the record of a job that was stopped and had no time to do so; others stay as they are."""
    try:
        entry = record.read(directory)
    except ValueError:
        return  # it had not begun
    if entry.error == record.UNFINISHED and not live.claimed(directory):
        entry.end(STOPPED)
        entry.write(directory)


def _without_hydra(config: DictConfig) -> DictConfig:
    task = copy.deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    return task


def _say_unused(workload: str, words: Iterable[str]) -> None:
    """Name what was written on the command line and bears on another kind of workload, once a command."""
    for word in words:
        name = re.split(r"[.=@]", word.lstrip("+~"), maxsplit=1)[0]
        if not is_used(name, workload) and name != "server" and (workload, word) not in _unused:
            _unused.add((workload, word))
            progress.say(f"workload={workload} does not use {name}: {word} changes nothing")


def _interleaved(plain: dict[str, Any], hydra: Any, sweep: Path | None) -> bool:
    if sweep is None or not plain["compare"]["interleave"]:
        return False
    if hydra.launcher._target_ != BASIC_LAUNCHER:
        raise UserError("compare.interleave=true measures in one process: it needs hydra/launcher=basic")
    if plain["compare"]["rounds"] < 1:
        raise UserError(f"compare.rounds={plain['compare']['rounds']} must be at least 1")
    return True


def _check_launcher(hydra: Any, sweep: Path | None) -> None:
    if sweep is not None and hydra.launcher._target_ != BASIC_LAUNCHER:
        name = hydra.runtime.choices["hydra/launcher"]
        raise UserError(
            f"hydra/launcher={name} starts processes of its own: torchrun goes with hydra/launcher=basic"
        )


def find_met(sweep: Path, digest: str) -> str | None:
    """Where below `sweep` this configuration is measured, or just being measured, in words; None where it is not."""
    for directory, entry in record.find([sweep]):
        if entry.config_digest == digest and entry.status == "ok":
            return f"done before, in {directory.name}"
        if entry.config_digest == digest and entry.error == record.UNFINISHED and live.claimed(directory):
            return f"{MEASURED_ELSEWHERE}, in {directory.name}"
    return None


@dataclass
class _Job:
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
            _fail(entry, error, self.directory, self.label)
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
        _say_unused(entry.workload, entry.command)
        with ranks.here().job(self.plain):
            workload = build(self.plain, self.directory, self.asked)
            if self.sink is None:
                self.sink = signatures.make("tracking", self.plain["tracking"])
                self.sink.open(entry, self.directory)
            for part in rounds.measure(workload, entry.restart) if rounds else workload.measure():
                entry.add(part)
                entry.write(self.directory)
        entry.environment["after"] = environment.moment()
        entry.end()
        entry.write(self.directory)


def _entry(plain: dict[str, Any], command: list[str]) -> Record:
    public = keys.without(plain)
    return Record(
        workload="distance",
        command=[keys.hide(word) for word in command],
        config=public,
        config_digest=record.digest(public),
        environment=environment.describe(),
        started_at=record.now(),
    )


def _fail(entry: Record, error: Exception, directory: Path, label: str) -> None:
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
