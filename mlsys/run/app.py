"""The Hydra application: one experiment, or with -m a sweep."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mlsys import defaults
from mlsys.run import cli, config, job


@hydra.main(version_base="1.3", config_path=str(defaults.conf()), config_name="config")
def run(experiment: DictConfig) -> None:
    """Measure one configuration into its output directory."""
    config.register()  # a launcher may run this in a process of its own
    job.run(
        experiment, HydraConfig.get(), ["run.py", *sys.argv[1:]], Path(HydraConfig.get().runtime.output_dir)
    )


def start() -> int:
    """Run what the command line says. Returns the exit status, see `cli.call`."""
    config.register()
    return cli.call(run)
