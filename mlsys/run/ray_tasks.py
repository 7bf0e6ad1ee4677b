"""`hydra/launcher=ray`: each job of a sweep is a Ray task in a process of its own, on whichever node has room.

A job that fails has said so in its record, as with the basic launcher. One whose node dies is measured again on
another. After Ctrl-C the jobs that run are interrupted and finish their records; those that wait do not begin.
"""

from __future__ import annotations

import os
import sys
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from omegaconf import DictConfig, open_dict

from mlsys import extras, interrupts, progress
from mlsys.errors import UserError, one_line
from mlsys.run import job
from mlsys.run.ray_job import Job, place

if TYPE_CHECKING:
    from hydra_plugins.mlsys_ray import RayLauncher

STOP_S = 10.0  # that interrupted jobs get to finish their records


def launch(launcher: RayLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Measure the jobs, the first of which has the number `first`."""
    if reason := extras.absent("ray"):
        raise UserError(f"hydra/launcher=ray: {reason}")
    setup_globals()
    sweep = Path(str(launcher.config.hydra.sweep.dir)).absolute()
    sweep.mkdir(parents=True, exist_ok=True)
    configs = [_config(launcher, overrides, first + i, sweep) for i, overrides in enumerate(job_overrides)]
    done: dict[int, JobReturn] = {}
    for number, config in enumerate(configs):
        if met := job.measured_before(config):
            progress.say(f"{' '.join(config.hydra.overrides.task)}: {met}")
            done[number] = _returned(config)
    waiting = {number: config for number, config in enumerate(configs) if number not in done}
    if waiting:
        done |= _measure(launcher, sweep, waiting)
    return [done[number] for number in range(len(configs))]


def _measure(launcher: RayLauncher, sweep: Path, configs: dict[int, DictConfig]) -> dict[int, JobReturn]:
    token = sweep / f".ray-{uuid.uuid4().hex}"
    token.touch()
    try:
        with _cluster(launcher):
            return _Sweep(launcher, sweep, token).run(configs)
    except KeyboardInterrupt:
        for config in configs.values():
            job.record_stopped(sweep / str(config.hydra.sweep.subdir))
        raise
    finally:
        token.unlink(missing_ok=True)


def _config(launcher: RayLauncher, overrides: Sequence[str], number: int, sweep: Path) -> DictConfig:
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
        config.hydra.sweep.dir = str(sweep)
    return config


@contextmanager
def _cluster(launcher: RayLauncher) -> Iterator[None]:
    """Joined to the cluster, or with one that lasts as long as the sweep."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # each job says its own lines
    os.environ.setdefault("RAY_COLOR_PREFIX", str(int(sys.stderr.isatty())))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # num_gpus=0: the job sees none
    import ray

    started = {"include_dashboard": False} if launcher.address is None else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's, of its own future
            ray.init(
                address=launcher.address or "local",
                runtime_env=launcher.runtime_env or None,
                logging_level="error",
                **started,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise UserError(f"hydra.launcher.address={launcher.address}: {one_line(error)}") from error
    interrupts.raise_interrupt()  # Ray has put a handler of its own in place
    try:
        yield
    finally:
        ray.shutdown()


class _Sweep:
    """The jobs of one sweep on a joined cluster."""

    def __init__(self, launcher: RayLauncher, sweep: Path, token: Path) -> None:
        import ray

        self.ray, self.launcher, self.sweep, self.token = ray, launcher, sweep, token
        self.waiting: dict[Any, tuple[int, DictConfig]] = {}

    def run(self, configs: dict[int, DictConfig]) -> dict[int, JobReturn]:
        """Measure the jobs; what each came to."""
        done: dict[int, JobReturn] = {}
        options = self._options()
        for number, config in configs.items():
            self.waiting[self._submit(config, options)] = (number, config)
        try:
            while self.waiting:
                self._collect(done)
        except KeyboardInterrupt:
            self._stop()
            raise
        return done

    def _options(self) -> dict[str, Any]:
        """What each job is given. Raises UserError where no node has so much."""
        launcher = self.launcher
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        wanted = {
            "CPU": _all_of("CPU", nodes) if launcher.num_cpus is None else launcher.num_cpus,
            "GPU": _all_of("GPU", nodes) if launcher.num_gpus is None else launcher.num_gpus,
            **launcher.resources,
        }
        if not any(all(node.get(name, 0) >= much for name, much in wanted.items()) for node in nodes):
            asked = ", ".join(f"{much:g} {name}" for name, much in wanted.items() if much)
            raise UserError(f"hydra/launcher=ray: no node of the cluster has {asked}")
        return {
            "num_cpus": wanted["CPU"],
            "num_gpus": wanted["GPU"],
            "resources": launcher.resources,
            "max_retries": launcher.retries,
            "max_calls": 1,  # a process of its own for each job
        }

    def _submit(self, config: DictConfig, options: dict[str, Any]) -> Any:
        launcher = self.launcher
        wanted = Job(
            config,
            launcher.hydra_context,
            launcher.task_function,
            Singleton.get_state(),
            sys.argv,
            self.token,
        )
        return self.ray.remote(**options)(Job.measure).remote(wanted)

    def _collect(self, done: dict[int, JobReturn]) -> None:
        """Wait for one job and take what it came to."""
        (reference,), _ = self.ray.wait(list(self.waiting), num_returns=1)
        number, config = self.waiting.pop(reference)
        directory = self.sweep / str(config.hydra.sweep.subdir)
        try:
            done[number], files = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            _lost(directory, config, error)
            done[number] = _returned(config)  # the record says that it failed
            return
        if files is not None:
            place(files, directory)

    def _stop(self) -> None:
        """Interrupt the jobs that run, let them finish their records, and take these."""
        for reference in self.waiting:
            self.ray.cancel(reference)
        ended, _ = self.ray.wait(list(self.waiting), num_returns=len(self.waiting), timeout=STOP_S)
        for reference in self.waiting:
            if reference not in ended:
                self.ray.cancel(reference, force=True)


def _all_of(name: str, nodes: list[dict[str, float]]) -> float:
    """What every node has of it that works with CPUs."""
    return min((node.get(name, 0.0) for node in nodes if node.get("CPU")), default=0.0)


def _lost(directory: Path, config: DictConfig, error: Exception) -> None:
    """A record of a job whose process or node has gone, with what is there of it."""
    text = f"{type(error).__name__}: {one_line(error)}"
    job.record_lost(directory, config, text)
    progress.say(f"failed: {' '.join(config.hydra.overrides.task)}: {text}")


def _returned(config: DictConfig) -> JobReturn:
    """What Hydra is told of a job without one of its own: that it is over."""
    return JobReturn(overrides=list(config.hydra.overrides.task), status=JobStatus.COMPLETED)
