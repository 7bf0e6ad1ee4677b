"""A mistake in any part of the pipeline is told before a mode has started anything for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sections import composed

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.serving import parts

TINY = ("corpus=animals", "embedder=hashing", "generator=simulated", "device=cpu")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("embedder.dim=0",), "embedder.dim=0"),
        (("retriever=bm25", "retriever.k1=-1"), "retriever.k1=-1"),
        (("generator=random", "generator.shape=nonsense"), "generator.shape=nonsense"),
        (("reranker=cross_encoder", "reranker.model=here", "reranker.candidates=0"), "reranker.candidates=0"),
    ],
)
def test_a_balancer_refuses_what_a_part_of_its_replicas_refuses(words: tuple[str, ...], told: str) -> None:
    config = composed(*TINY, "server=lb", *words)
    with pytest.raises(UserError, match=told):
        signatures.make("server", config["server"]).service(parts.of(config, Path()))


def test_what_is_not_chosen_is_not_checked() -> None:
    parts.check(composed(*TINY, "reranker=none"))
