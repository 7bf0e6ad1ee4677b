"""One run: resolve, skip what is done, build, measure, record. A record is left behind whatever happens."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlsys import environment, interleave, progress, ranks, record
from mlsys.config import resolved
from mlsys.errors import UserError, one_line, root
from mlsys.record import Record

HIDDEN = "***"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def run(config: DictConfig, hydra: Any, command: list[str], directory: Path) -> None:
    """Measure `config` into `directory`/record.json. Only an interrupt is raised; a failure stands in the record."""
    overrides = " ".join(hydra.overrides.task) or "the defaults"
    sweep = Path(hydra.sweep.dir) if hydra.mode is not None and hydra.mode.name == "MULTIRUN" else None
    label = f"failed: {overrides}: " if sweep else ""
    try:
        plain = resolved(config)
        if ranks.size() > 1:
            plain["ranks"] = ranks.size()
            _check_launcher(hydra, sweep)
        interleaved = _interleaved(plain, hydra, sweep)
    except (UserError, OmegaConfBaseException) as error:
        raw = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
        _fail(_entry({"unresolved": raw}, command), error, directory, label)
        return
    progress.say(f"run: {overrides}")
    if sweep and (done := find_done(sweep, record.digest(without_secrets(plain)))):
        progress.say(f"{overrides}: done before, in {done.name}")
        return
    if ranks.here().lost:
        progress.say(f"not run: {overrides}: {ranks.here().lost}")
        return
    if interleaved:
        entry, rounds = _entry(plain, command), interleave.Rounds(plain["compare"]["rounds"])
        interleave.defer(lambda: _measure(entry, plain, directory, label, rounds))
        return
    _measure(_entry(plain, command), plain, directory, label)


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


def find_done(sweep: Path, digest: str) -> Path | None:
    """The directory below `sweep` that holds a finished record of this configuration, if there is one."""
    for directory, entry in record.find([sweep]):
        if entry.config_digest == digest and entry.status == "ok":
            return directory
    return None


def _measure(
    entry: Record,
    plain: dict[str, Any],
    directory: Path,
    label: str,
    rounds: interleave.Rounds | None = None,
) -> bool:
    """Measure into `entry`; with `rounds`, one more round of it. Returns whether another round is wanted."""
    from mlsys.build import build, workload_kind

    entry.write(directory)
    sink, last = None, rounds is None or rounds.last
    try:
        entry.workload = workload_kind(plain)
        with ranks.here().job(plain):
            workload = build(plain, directory)
            if last:
                sink = instantiate(plain["tracking"])
                sink.open(entry, directory)
            for part in rounds.measure(workload, entry.restart) if rounds else workload.measure():
                entry.add(part)
                entry.write(directory)
        entry.environment["after"] = environment.moment()
        entry.end()
        entry.write(directory)
    except KeyboardInterrupt:
        entry.end("KeyboardInterrupt: stopped by the user; what was measured until then is kept")
        entry.write(directory)
        raise
    except Exception as error:
        _fail(entry, error, directory, label)
    finally:
        if sink is not None:
            _close(sink, entry)
    return entry.status == "ok" and not last


def _entry(plain: dict[str, Any], command: list[str]) -> Record:
    public = without_secrets(plain)
    return Record(
        workload="distance",
        command=[re.sub(r"(api_key=)(?!env:).+", rf"\1{HIDDEN}", word) for word in command],
        config=public,
        config_digest=record.digest(public),
        environment=environment.describe(),
        started_at=record.now(),
    )


def without_secrets(config: Any) -> Any:
    """The configuration as it may be shown: an `api_key` that is not a variable's name is hidden."""
    if isinstance(config, list):
        return [without_secrets(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        name: HIDDEN
        if name == "api_key" and value is not None and not str(value).startswith("env:")
        else without_secrets(value)
        for name, value in config.items()
    }


def _fail(entry: Record, error: Exception, directory: Path, label: str) -> None:
    """Record the failure and say it in one line; only what is not the user's mistake leaves a traceback, in a file."""
    cause = root(error)
    entry.end(f"{type(cause).__name__}: {one_line(cause)}")
    entry.write(directory)
    progress.say(f"{label}{one_line(cause)}")
    if not isinstance(cause, (UserError, OmegaConfBaseException)):
        path = directory / "traceback.txt"
        path.write_text("".join(traceback.format_exception(error)))
        progress.say(f"the traceback is in {path}")


def _close(sink: Any, entry: Record) -> None:
    try:
        sink.close(entry)
    except Exception as error:
        progress.say(f"tracking: {one_line(error)}; record.json is complete")
