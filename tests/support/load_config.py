"""The configuration of a serving run with simulated models, as a run would have it resolved."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlsys.loadtest import options as loads
from mlsys.rag import options as rag
from mlsys.serving import options as serving


def config(server: str, load: str = "closed", /, **sections: dict[str, Any]) -> dict[str, Any]:
    def section(schemas: dict[str, type], name: str) -> dict[str, Any]:
        return asdict(schemas[name](**sections.get(name.split("/")[0], {})))

    return {
        "server": section(serving.SCHEMAS, f"server/{server}"),
        "batching": section(serving.SCHEMAS, "batching/hybrid"),
        "balancer": section(serving.SCHEMAS, "balancer/round_robin"),
        "loadtest": section(loads.SCHEMAS, f"loadtest/{load}"),
        "corpus": section(rag.SCHEMAS, "corpus/animals"),
        "embedder": section(rag.SCHEMAS, "embedder/hashing"),
        "retriever": section(rag.SCHEMAS, "retriever/exact"),
        "generator": section(rag.SCHEMAS, "generator/simulated"),
        "seed": 0,
        "device": "cpu",
        "threads": None,
    }
