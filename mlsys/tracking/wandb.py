"""Weights & Biases: one run a job, written when the job has ended: nothing runs while measuring.

W&B reads its environment when it is imported and has defaults that fit training runs; each setting here mends
one that does not fit: telemetry in offline mode, console capture, waiting for a server without end, tables
kept outside the run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlsys import extras, progress
from mlsys.errors import UserError
from mlsys.record import FILE_NAME, Record
from mlsys.report.rows import Row, is_number, rows
from mlsys.report.table import text
from mlsys.tracking.reach import check_server
from mlsys.tracking.wandb_contents import conditions, history, media, summary

MODES = ("offline", "online", "disabled")


class WandbSink:
    """Draws a record as a W&B run.

    `mode`: offline (kept under the run's directory, `wandb sync` sends it), online, disabled. `group`: the
    sweep's name.
    `timeout_s`: how long the server may take to answer, and again to take what is sent. `requests`: whether
    requests.parquet joins the record in the run's artifact.
    """

    def __init__(
        self,
        name: str,
        mode: str,
        project: str,
        entity: str | None,
        group: str | None,
        timeout_s: float,
        requests: bool,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"tracking.mode={mode} is none of {', '.join(MODES)}")
        if not timeout_s > 0:
            raise UserError(f"tracking.timeout_s={timeout_s} must be more than 0")
        self.name, self.mode, self.project, self.entity, self.group = name, mode, project, entity, group
        self.timeout_s, self.requests = timeout_s, requests
        self._directory: Path | None = None

    def open(self, record: Record, directory: Path) -> None:
        """Online: make sure of key and server now, not after hours of measuring. Raises UserError.

        Offline without wandb: say so and write nothing, since the record holds everything.
        """
        self._directory = None
        if self.mode != "disabled" and (lacking := extras.absent("wandb")):
            if self.mode == "online":
                raise UserError(f"tracking.mode=online: {lacking}")
            progress.say(f"this run is not kept for W&B: {lacking}")
            return
        if self.mode == "online":
            with surroundings(self.mode, directory):
                check_server(self.timeout_s)
        if self.mode != "disabled":
            self._directory = directory

    def close(self, record: Record) -> None:
        """Write the run: config, flat summary, history by load or size, plots, the record as an artifact."""
        directory, self._directory = self._directory, None
        if directory is None:
            return
        with surroundings(self.mode, directory):
            import wandb

            run = self._start(wandb, record, directory)
            try:
                self._fill(wandb, run, record, directory)
            finally:
                run.finish(exit_code=0 if record.status == "ok" else 1)

    def _start(self, wandb: Any, record: Record, directory: Path) -> Any:
        return wandb.init(
            id=run_id(record, directory),
            mode=self.mode,
            project=self.project,
            entity=self.entity,
            group=self.group or sweep_name(directory),
            job_type=record.workload,
            name=run_name(rows([(directory, record)])[0]),
            config={**record.config, "mlsys": conditions(record)},
            dir=directory,
            tags=[record.status],
            reinit="finish_previous",
            settings=self._settings(wandb),
        )

    def _fill(self, wandb: Any, run: Any, record: Record, directory: Path) -> None:
        table = rows([(directory, record)])
        history(run, record.workload, table, media(wandb, record.workload, table))
        artifact = wandb.Artifact(f"record-{run.id}", type="record")
        requests = directory / "requests.parquet"
        for path in (directory / FILE_NAME, *([requests] if self.requests and requests.is_file() else [])):
            artifact.add_file(str(path))
        run.log_artifact(artifact)
        run.summary.update(summary(table))

    def _settings(self, wandb: Any) -> Any:
        return wandb.Settings(
            console="off",
            silent=True,
            init_timeout=self.timeout_s,
            login_timeout=int(self.timeout_s) or 1,
            finish_timeout=3 * self.timeout_s,
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            save_code=False,
            disable_job_creation=True,
        )


@contextmanager
def surroundings(mode: str, directory: Path) -> Iterator[None]:
    """The environment that W&B reads: nothing lies outside the run's directory, nothing is reported."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when wandb is imported, and for good
    data = directory / "wandb"
    data.mkdir(parents=True, exist_ok=True)
    changed = {"WANDB_MODE": mode, "WANDB_SILENT": "true"}
    changed |= {f"WANDB_{name.upper()}_DIR": str(data / name) for name in ("data", "artifact", "cache")}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def sweep_name(directory: Path) -> str | None:
    """The name of the sweep that a run's directory lies in: Hydra leaves `multirun.yaml` beside the jobs."""
    sweep = directory.resolve().parent
    return sweep.name if (sweep / "multirun.yaml").is_file() else None


def run_id(record: Record, directory: Path | None = None) -> str | None:
    """The same record is the same W&B run whenever it is drawn. An agent names its run itself, not a sweep's."""
    if os.environ.get("WANDB_RUN_ID") and not (directory and sweep_name(directory)):
        return None
    what = [record.config_digest, record.started_at, str(record.environment.get("hostname"))]
    return hashlib.sha256(" ".join(what).encode()).hexdigest()[:12]


def run_name(row: Row) -> str:
    """A name that says what ran: `l2 blocked float32 1e6`, `batch hybrid`, `queue`."""
    if row["workload"] == "serving":
        mode = row.get("config.server.name")
        words = [mode, row.get("config.batching.name") if mode == "batch" else None]
    else:
        words = [row.get("config.metric.name"), row.get("reduction"), row.get("config.dtype")]
        size = row.get("n") or row.get("queries")
        words.append(text(size) if is_number(size) else None)
    return " ".join(str(word) for word in words if word) or str(row["workload"])
