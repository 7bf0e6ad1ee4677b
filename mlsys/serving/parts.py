"""What a mode is built from, as a resolved configuration names it; each part is made when the mode takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsys import signatures
from mlsys.serving.modes import Parts
from mlsys.serving.worker import Pipeline


def of(config: dict[str, Any], directory: Path) -> Parts:
    """The parts of `config`; logs of processes that the mode starts go to `directory`."""
    return Parts(
        pipeline=lambda: _pipeline(config),
        batching=lambda: signatures.make("batching", config["batching"]),
        scheduling=lambda: signatures.make("scheduling", config["scheduling"]),
        balancer=lambda: signatures.make("balancer", config["balancer"]),
        config=config,
        directory=directory,
    )


def check(config: Mapping[str, Any]) -> None:
    """Raise UserError for a knob that a part of the pipeline refuses, before any process is started for it."""
    for group in ("corpus", "embedder", "retriever", "generator", "reranker"):
        if config[group]["name"] != "none":
            signatures.make(group, config[group])


def _pipeline(config: dict[str, Any]) -> Pipeline:
    from mlsys.rag import configured  # brings torch, which a balancer does without

    return configured.pipeline(config)
