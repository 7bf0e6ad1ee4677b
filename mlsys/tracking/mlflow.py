"""`tracking=mlflow`: one MLflow run a job, below one of its sweep, written when the job has ended.

The store is a local database unless `uri` names another. MLflow reads its environment when it is imported: telemetry is
off, and a server that is not there costs `timeout_s` and not minutes.
"""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsys import extras
from mlsys.errors import UserError, one_line
from mlsys.record import FILE_NAME, Record
from mlsys.report import page, rows
from mlsys.report.rows import COURSE, Row, is_number
from mlsys.tracking.wandb import run_id, run_name, sweep_name
from mlsys.tracking.wandb_contents import BINS, conditions

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
SQLITE = "sqlite:///"
SWEEP, RUN, PARENT, NAME = "mlsys.sweep", "mlsys.run", "mlflow.parentRunId", "mlflow.runName"
LONGEST_PARAM = 6000
PARAMS_AT_ONCE, METRICS_AT_ONCE = 100, 1000
NO_NAME = re.compile(r"[^\w\-. /]")


class MlflowSink:
    """`uri`: a store as MLflow names it, null: a database in `directory`. `requests`: whether they become an artifact.

    `timeout_s`: how long a server may take to answer.
    """

    def __init__(
        self, name: str, uri: str | None, directory: str, experiment: str, timeout_s: float, requests: bool
    ) -> None:
        if not timeout_s > 0:
            raise UserError(f"tracking.timeout_s={timeout_s} must be more than 0")
        self.name, self.experiment, self.requests, self.timeout_s = name, experiment, requests, timeout_s
        self._home = Path(directory).expanduser().resolve()
        self.uri = uri or f"{SQLITE}{self._home / DATABASE}"
        self._directory = Path()
        self._client: Any = None
        self._experiment_id = ""

    def open(self, record: Record, directory: Path) -> None:
        """Make sure now that the store can be written. Raises UserError."""
        self._client, self._directory = None, directory
        for module in ("mlflow", *(["sqlalchemy", "alembic"] if self.uri.startswith(SQLITE) else [])):
            if lacking := extras.absent(module):
                raise UserError(f"tracking=mlflow: {lacking}")
        self._set_environment()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            if self.uri.startswith(SQLITE):
                Path(self.uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(tracking_uri=self.uri)
            self._experiment_id = self._found_experiment(client)
        except (MlflowException, OSError) as error:
            raise UserError(f"tracking.uri={self.uri} cannot be used: {one_line(error)}") from error
        self._client = client

    def close(self, record: Record) -> None:
        """Write the run: settings as parameters, each level as a step of its metrics, the record and a page."""
        client, self._client = self._client, None
        if client is None:
            return
        table = rows.rows([(self._directory, record)])
        run = self._run(client, record, table).info.run_id
        _log(client, run, record, table)
        client.log_artifact(run, str(self._directory / FILE_NAME))
        requests = self._directory / "requests.parquet"
        if self.requests and requests.is_file():
            client.log_artifact(run, str(requests))
        if extras.absent("plotly") is None:
            with tempfile.TemporaryDirectory() as made:
                client.log_artifact(run, str(page.write(Path(made), [(self._directory, record)])))
        client.set_terminated(run, "FINISHED" if record.status == "ok" else "FAILED")

    def _set_environment(self) -> None:
        usual = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(self.timeout_s)),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        for name, value in usual.items():
            os.environ.setdefault(name, value)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def _found_experiment(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        place = (self._home / ARTIFACTS).as_uri() if self.uri.startswith(SQLITE) else None
        if (found := client.get_experiment_by_name(self.experiment)) is None:
            try:
                return str(client.create_experiment(self.experiment, artifact_location=place))
            except MlflowException:  # another job of the sweep was faster
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _run(self, client: Any, record: Record, table: Sequence[Row]) -> Any:
        """A new run; one that the same record left before goes."""
        name = run_id(record) or record.config_digest
        for old in self._with_tag(client, RUN, name):
            client.delete_run(old.info.run_id)
        tags = {RUN: name, "mlsys.workload": record.workload, "mlsys.command": " ".join(record.command)}
        sweep = sweep_name(self._directory)
        if sweep is not None:
            tags[PARENT] = self._parent(client, sweep)
        return client.create_run(self._experiment_id, tags=tags, run_name=run_name(table[0]))

    def _parent(self, client: Any, sweep: str) -> str:
        """The run of the sweep; the oldest, where two jobs made one at once."""
        place = str(self._directory.resolve().parent)
        if not self._with_tag(client, SWEEP, place):
            made = client.create_run(self._experiment_id, tags={SWEEP: place}, run_name=sweep)
            client.set_terminated(made.info.run_id)
        first, *others = self._with_tag(client, SWEEP, place)
        for other in others:
            client.delete_run(other.info.run_id)
        return str(first.info.run_id)

    def _with_tag(self, client: Any, tag: str, value: str) -> list[Any]:
        wanted = value.replace("'", "")
        found = client.search_runs(
            [self._experiment_id], f"tags.`{tag}` = '{wanted}'", order_by=["attributes.start_time ASC"]
        )
        return list(found)


def _log(client: Any, run: str, record: Record, table: Sequence[Row]) -> None:
    from mlflow.entities import Metric, Param

    settings = {**rows.settings(record), **_software(record)}
    params = [
        Param(NO_NAME.sub("_", key), str(value)[:LONGEST_PARAM])
        for key, value in settings.items()
        if value is not None
    ]
    at_ms = int(1e3 * time.time())
    metrics = [
        Metric(NO_NAME.sub("_", name), float(value), at_ms, step)
        for step, row in enumerate(table)
        for name, value in row.items()
        if _is_figure(name, value)
    ]
    for begin in range(0, len(params), PARAMS_AT_ONCE):
        client.log_batch(run, params=params[begin : begin + PARAMS_AT_ONCE])
    for begin in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run, metrics=metrics[begin : begin + METRICS_AT_ONCE])


def _is_figure(name: str, value: Any) -> bool:
    """A finite number that is no setting, no bar of a plot and no place in the table."""
    left_out = name in {"record", "level", COURSE} or name.startswith("config.") or BINS in name
    return not left_out and is_number(value) and math.isfinite(value)


def _software(record: Record) -> dict[str, Any]:
    """Hardware, versions and commit, beside the settings."""
    environment = conditions(record)["environment"]
    parts = {name: environment.get(name) for name in ("hardware", "versions", "git")}
    return rows.flatten({name: part for name, part in parts.items() if isinstance(part, dict)}, "machine.")
