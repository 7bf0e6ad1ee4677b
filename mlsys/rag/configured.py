"""The pipeline that a configuration asks for, as the service and the measurement of its ceiling make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys import device, signatures
from mlsys.rag.generator import choice
from mlsys.rag.options import Order
from mlsys.rag.pipeline import Pipeline

GROUPS = ("corpus", "embedder", "retriever")


def pipeline(config: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a resolved configuration, not yet loaded. Raises UserError for what it cannot be."""
    reranker = config["reranker"]
    place = str(device.resolve(config["device"]))
    made = Pipeline(
        **{group: signatures.make(group, config[group]) for group in GROUPS},
        generator=choice.generator(config, place),
        reranker=signatures.make("reranker", reranker) if reranker["name"] != "none" else None,
        device=place,
        threads=config["server"]["threads"],
        seed=config["seed"],
        order=Order(config["prompt"]["order"]),
    )
    if config["server"].get("max_tokens") is not None:  # modes without a service have none
        made.generator.allow(config["server"]["max_tokens"])
    return made
