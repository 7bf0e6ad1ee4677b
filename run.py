"""Run one experiment, or with -m a sweep: parse, build, measure, record. `python run.py --help` explains itself."""

import sys
from pathlib import Path

from mlsys import interrupts

if __name__ == "__main__":
    interrupts.leave_at_once()  # what follows takes seconds to import

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mlsys import cli, config, job

config.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(experiment: DictConfig) -> None:
    """Measure one configuration into its output directory."""
    config.register()  # a launcher may run this in a process of its own
    job.run(
        experiment, HydraConfig.get(), ["run.py", *sys.argv[1:]], Path(HydraConfig.get().runtime.output_dir)
    )


if __name__ == "__main__":
    sys.exit(cli.call(run))
