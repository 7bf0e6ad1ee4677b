"""`hydra/launcher=ray`, where Hydra looks for launchers; the work is in `mlsys.run.ray_tasks`.

The plugin hydra-ray-launcher (1.2.2) is not used: it ends a sweep whose node dies, fetches no files from nodes with
disks of their own, leaves jobs running after Ctrl-C, and needs boto3 and cloudpickle below 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Gives each job of a sweep to Ray; the knobs are explained in `conf/hydra/launcher/ray.yaml`."""

    def __init__(
        self,
        address: str | None,
        num_cpus: float | None,
        num_gpus: float | None,
        resources: dict[str, float],
        retries: int,
        runtime_env: dict[str, Any],
    ) -> None:
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus
        self.resources, self.retries, self.runtime_env = dict(resources), retries, dict(runtime_env)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Measure the jobs. Raises UserError where Ray, or what a job needs, is not to be had."""
        from mlsys.run import ray_tasks

        return ray_tasks.launch(self, job_overrides, initial_job_idx)
