"""The pipeline alone on a GPU, at several batch sizes: python experiments/h100_serving/engine.py [overrides]

What `experiment=h100_serving` can at most serve. Prints requests/s of the whole pipeline, the fastest of three.
"""

from __future__ import annotations

import sys

from hydra import compose, initialize_config_dir

from mlsys.defaults import conf
from mlsys.rag import configured
from mlsys.run import config

BATCHES = (1, 8, 32, 128)
SETTINGS = ["experiment=h100_serving", "server=batch", "generator.compile=true"]


def main() -> None:
    config.register()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        plain = config.resolved(compose("config", [*SETTINGS, *sys.argv[1:]]))
    pipeline = configured.pipeline(plain)
    pipeline.load()
    pipeline.warm(max(BATCHES))
    for batch in BATCHES:
        print(f"batch {batch:4}  {pipeline.engine_rate(batch, 3):8.2f} requests/s", flush=True)


if __name__ == "__main__":
    main()
