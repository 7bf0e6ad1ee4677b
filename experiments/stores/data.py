"""What stores are measured with: Python's own passages and questions, or vectors made around random centres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mlsys.rag import index
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever import Rows

DIM, CLUSTERS, NOISE = 384, 1000, 0.7  # at most so many clusters, of 100 or more


class Data:
    """Rows, queries, what is the right answer, and for pydocs the texts. Made once, read by each store's process."""

    def __init__(self, what: str) -> None:
        self.passages: list[Passage] = []
        self.texts: list[str] = []
        self.right: list[int] = []
        if what == "pydocs":
            self._pydocs()
        else:
            count = int(float(what))
            self.digest, generator = f"made-{count}-{DIM}", np.random.default_rng(0)
            centres = generator.normal(size=(min(CLUSTERS, max(10, count // 100)), DIM)).astype(np.float32)
            self.rows = made(generator, centres, count)
            self.queries = made(generator, centres, 1000)

    def _pydocs(self) -> None:
        corpus, embedder = option("corpus/pydocs"), option("embedder/minilm")
        embedder.load("cpu")
        corpus.load(embedder.token_spans)
        self.rows, self.digest = index.rows(corpus, embedder), index.digest(corpus, embedder)
        self.passages, self.texts = corpus.passages, [question.text for question in corpus.questions]
        self.right = [question.passage_id for question in corpus.questions]
        self.queries = embedder.queries(self.texts)

    def write(self, folder: Path) -> None:
        """Leave it to other processes."""
        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "queries.npy", self.queries)
        texts = {"digest": self.digest, "texts": self.texts, "right": self.right}
        texts |= {"passages": [[one.id, one.text, one.source, one.position] for one in self.passages]}
        (folder / "texts.json").write_text(json.dumps(texts))

    @classmethod
    def read(cls, folder: Path) -> Data:
        """What was left."""
        data, texts = cls.__new__(cls), json.loads((folder / "texts.json").read_text())
        data.rows, data.queries = np.load(folder / "rows.npy"), np.load(folder / "queries.npy")
        data.digest, data.texts, data.right = texts["digest"], texts["texts"], texts["right"]
        data.passages = [Passage(*one) for one in texts["passages"]]
        return data


def made(generator: np.random.Generator, centres: Rows, count: int) -> Rows:
    """Vectors of length 1 around random centres."""
    rows = np.empty((count, DIM), np.float32)
    for start in range(0, count, 100_000):
        part = rows[start : start + 100_000]
        part[:] = generator.normal(scale=NOISE, size=part.shape)
        part += centres[generator.integers(len(centres), size=len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def option(name: str, **knobs: Any) -> Any:
    """What a run would make of an option."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from mlsys import signatures
    from mlsys.run import config

    group, choice = name.split("/")
    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(config.conf()), version_base="1.3"):
        section = config.resolved(hydra.compose("config", [f"{group}={choice}"]))[group]
    return signatures.make(group, {**section, **knobs})
