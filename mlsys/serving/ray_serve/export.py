"""`server.export=PATH.yaml`: Ray's serve config file of a configuration, held against Ray's own schema. Nothing starts.

A cluster takes it with `serve deploy PATH.yaml`, one machine with `serve run PATH.yaml`, KubeRay as `serveConfigV2`.
The key itself is not written: the variable that `server.api_key` names must be set where the replicas run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mlsys import files, progress, signatures
from mlsys.errors import UserError, one_line
from mlsys.record import Level, Results
from mlsys.serving.modes.ray import RayServe

HEAD = "# Written by server.export. Where replicas run, mlsys must be installed: pip install 'mlsys[ray,serving]'\n"
PORT = 8000  # Ray Serve's own
USED = (
    *("server", "batching", "scheduling", "balancer", "device", "seed", "prompt"),
    *("corpus", "embedder", "retriever", "reranker", "generator"),
)


class Export:
    """A workload that measures nothing."""

    kind = "serving"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def measure(self) -> Iterator[Results | Level]:
        """Write the file."""
        path = Path(self.config["server"]["export"])
        try:
            files.replace(path, HEAD + yaml.safe_dump(content(self.config), sort_keys=False))
        except OSError as error:
            raise UserError(f"server.export={path}: {error.strerror}") from None
        progress.say(
            f"wrote {path}: serve deploy {path} puts it on a cluster, serve run {path} starts it here"
        )
        yield Results({"exported": str(path)})


def content(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds. Raises UserError where Ray's schema does not take it."""
    from ray.serve.schema import ServeDeploySchema

    from mlsys.serving.ray_serve import application
    from mlsys.serving.ray_serve.hosting import gpus_each

    options: RayServe = signatures.make("server", config["server"])
    if options.num_gpus is None:
        options.num_gpus = gpus_each(options, config["device"])
    plain = {
        **{name: config[name] for name in USED},
        "server": {**config["server"], "address": "auto", "export": None, "num_gpus": options.num_gpus},
    }
    options.api_key = None
    settings = application.settings(options, dict(config))
    found = {
        "proxy_location": "EveryNode",
        "http_options": {"host": options.host, "port": options.port or PORT},
        "applications": [
            {
                "name": options.app,
                "route_prefix": "/",
                "import_path": application.IMPORT_PATH,
                "args": plain,
                "deployments": [{"name": application.DEPLOYMENT, **settings}],
            }
        ],
    }
    try:
        ServeDeploySchema.model_validate(found)
    except ValueError as error:
        raise UserError(
            f"server.export={config['server']['export']}: Ray does not take it: {one_line(error)}"
        ) from None
    return found
