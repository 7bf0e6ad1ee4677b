"""One run: resolve, skip what is done, measure into a record. A record is left behind whatever happens."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mlsys import keys, progress, ranks, record
from mlsys.errors import UserError
from mlsys.run import choices, interleave, live
from mlsys.run.config import resolved
from mlsys.run.measured import STOPPED, Measured, begun, fail

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
MEASURED_ELSEWHERE = "another process is measuring it just now"


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
        fail(begun({"unresolved": raw}, command), error, directory, label)
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
    measured = Measured(begun(plain, command), plain, directory, label, claim, asked)
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
        entry = begun(
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
