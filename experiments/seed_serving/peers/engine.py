"""Our pipeline as a function from a batch of request bodies to as many answers: what both peers serve."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

HOST = "127.0.0.1"


class Engine:
    """Models, threads and batch size of `config`, the resolved configuration of a run of ours."""

    def __init__(self, config: dict[str, Any]) -> None:
        from mlsys.rag import configured

        self.pipeline = configured.pipeline(config)
        self.pipeline.load()
        self.pipeline.warm(config["batching"]["max_size"])

    def __call__(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        from mlsys.rag.item import Item

        items = self.pipeline.run([Item(body["query"], body.get("k", 2)) for body in bodies])
        return [
            {"query": item.query, "result": item.result, "tokens": item.tokens, "batch_size": len(items)}
            | {"passages": [{"id": hit.id, "text": hit.text} for hit in item.passages]}
            for item in items
        ]


def arguments() -> tuple[dict[str, Any], int]:
    """(configuration, port) from the command line; threads are limited before torch is imported."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "config", type=Path, help="the server.yaml that a run with server=batch leaves behind"
    )
    parser.add_argument("--port", type=int, default=8101)
    given = parser.parse_args()
    config = yaml.safe_load(given.config.read_text())
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(config["server"]["threads"])
    return config, given.port
