"""The same pipeline behind LitServe, a peer: `python experiments/ray/lit.py CONFIG.yaml PORT`, then `POST /rag`.

Its batcher gets the size and the wait that Ray's gets. `GET /ready` is LitServe's own health check.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import litserve
import yaml

from mlsys.quantities import limit_threads
from mlsys.rag import configured
from mlsys.serving.http import schema
from mlsys.serving.modes.ray import ray_batches
from mlsys.serving.request import Request, ServiceError
from mlsys.serving.worker import Worker


class Rag(litserve.LitAPI):
    """Stages over a list of requests, as in every mode of ours."""

    def __init__(self, config: dict[str, Any]) -> None:
        size, wait_s = ray_batches(config["batching"])
        super().__init__(max_batch_size=size, batch_timeout=wait_s, api_path="/rag")
        self.config = config

    def setup(self, device: str) -> None:
        pipeline = configured.pipeline(self.config)
        pipeline.load()
        pipeline.warm(self.max_batch_size)
        self.worker = Worker(pipeline)

    def decode_request(self, request) -> Request:  # an annotation would be a body's schema to LitServe
        return Request(request["query"], request["k"])

    def batch(self, inputs: list[Request]) -> list[Request]:
        return list(inputs)

    def predict(self, x: list[Request]) -> list[Request]:
        def settle(request: Request, error: ServiceError | None) -> None:
            if error is not None:
                raise error

        self.worker.run(x, len, settle)
        return x

    def unbatch(self, output: list[Request]) -> list[Request]:
        return output

    def encode_response(self, output: Request) -> dict[str, Any]:
        return json.loads(schema.rag_body(output, None))


if __name__ == "__main__":
    config = yaml.safe_load(Path(sys.argv[1]).read_text())
    limit_threads(config["server"]["threads"])
    server = litserve.LitServer(Rag(config), accelerator="cpu", timeout=120, healthcheck_path="/ready")
    server.run("127.0.0.1", int(sys.argv[2]), 1, "warning", generate_client_file=False)
