"""The RAG pipeline: corpus, embedder, retriever and generator joined into stages that each take a batch.

It knows nothing of HTTP or asyncio. One thread at a time drives it; more speed means more processes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from mlsys.device import enter, resolve
from mlsys.errors import UserError
from mlsys.rag import index
from mlsys.rag.corpus import Corpus, LabelledQuestion, Passage
from mlsys.rag.embedder import Embedder
from mlsys.rag.generator import Generator
from mlsys.rag.item import Hit, Item, Stage
from mlsys.rag.options import Order
from mlsys.rag.prompt import PromptStage
from mlsys.rag.reranker import Reranker
from mlsys.rag.retriever import Reader, Retriever, Rows, Updatable, needs_vectors
from mlsys.rag.stages import EmbedStage, GenerateStage, RerankStage, RetrieveStage
from mlsys.rag.upstream import Remote, Upstream
from mlsys.record import Scalar

__all__ = ["Hit", "Item", "Pipeline", "Stage"]


Length = Callable[[int], int | None]


def _usual(place: int) -> None:
    """As long as the generator is configured to answer."""


def _shortest(place: int) -> int:
    """One token read to, and one written."""
    return 2


class Pipeline:
    """embed → retrieve → prompt → generate over one corpus. Constructing is cheap; `load` does the work.

    A retriever by words needs no `embed`; a reranker adds the stage `rerank`.
    `threads`: CPU threads of torch (None: all cores); `device`: auto, cpu or cuda; `seed`: random weights;
    `k`: passages that a prompt gets where the caller names no other number; `order`: in which order.
    """

    def __init__(
        self,
        corpus: Corpus,
        embedder: Embedder,
        retriever: Retriever,
        generator: Generator,
        threads: int | None = None,
        device: str = "auto",
        seed: int = 0,
        k: int = 2,
        reranker: Reranker | None = None,
        order: Order = Order.score,
    ) -> None:
        if threads is not None and threads < 1:
            raise UserError(f"server.threads={threads} must be at least 1")
        if k < 1:
            raise UserError(f"k={k} must be at least 1")
        self.corpus, self.embedder, self.retriever, self.generator = corpus, embedder, retriever, generator
        self.reranker, self.order = reranker, order
        self.threads, self.device, self.seed, self.k = threads, device, seed, k
        self.stages: tuple[Stage, ...] = ()
        self.load_s: dict[str, float] = {}

    def load(self) -> None:
        """Fetch and load everything, with progress on stderr. Raises UserError for what cannot be had."""
        self.device = str(resolve(self.device))
        enter(self.device)
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        with self._timed("embedder"):
            self.embedder.load(self.device)
        with self._timed("corpus"):
            self.corpus.load(self.embedder.token_spans)
        with self._timed("index"):
            if isinstance(self.retriever, Reader):
                self.retriever.read(self.corpus.passages)
            rows = (
                self.rows
                if needs_vectors(self.retriever)
                else np.empty((len(self.corpus.passages), 0), np.float32)
            )
            self.retriever.load(rows, self.device, index.digest(self.corpus, self.embedder))
        if self.reranker is not None:
            with self._timed("reranker"):
                self.reranker.load(self.device)
        with self._timed("generator"):
            self.generator.load(self.device, self.seed)
        self.stages = (
            *self._finding(),
            PromptStage(self.generator, self.order),
            GenerateStage(self.generator),
        )

    def _finding(self) -> Iterator[Stage]:
        """The stages up to the passages of a prompt."""
        if needs_vectors(self.retriever):
            yield EmbedStage(self.embedder)
        candidates = self.reranker.candidates if self.reranker else 0
        yield RetrieveStage(self.retriever, self.corpus.passages, candidates)
        if self.reranker is not None:
            yield RerankStage(self.reranker)

    @cached_property
    def rows(self) -> Rows:
        """(N, dim) the passages' vectors, computed when first needed."""
        return index.rows(self.corpus, self.embedder)

    def add(self, passages: Sequence[Passage]) -> None:
        """Embed passages and give them to the store, while no request is under way; their ids go on from the last.

        Raises UserError where the store's index must be built anew for that.
        """
        store, there = self._updatable(), self.corpus.passages
        ids = [passage.id for passage in passages]
        if ids != list(range(len(there), len(there) + len(ids))):
            raise UserError(f"added passages must have the ids from {len(there)} on")
        rows = self.embedder.passages([passage.text for passage in passages])
        store.add(rows, ids, [passage.source for passage in passages])
        self.rows = np.concatenate([self.rows, rows])
        there.extend(passages)

    def remove(self, ids: Sequence[int]) -> None:
        """Take passages out of the store: they are found no more. Raises UserError as `add`."""
        self._updatable().remove(ids)

    def _updatable(self) -> Updatable:
        if not isinstance(self.retriever, Updatable):
            raise UserError(f"retriever={self.retriever.name} cannot change its index: load another pipeline")
        return self.retriever

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.load_s[part] = time.perf_counter() - started

    def warm(self, max_batch: int) -> None:
        """Run what the first requests would otherwise wait for, at batch sizes up to `max_batch`."""
        with self._timed("warm"):
            self.generator.warm(max_batch)
            self.warm_front(max_batch)
            on_cuda = self.device.startswith("cuda")
            for batch in sorted({1, max_batch} if on_cuda else {min(2, max_batch)}):
                self.run(self.items(batch) if on_cuda else self.items(batch, length=_shortest))

    def warm_front(self, max_batch: int) -> None:
        """The same for the stages before the generator alone."""
        on_cuda = self.device.startswith("cuda")  # there its size chooses kernels, to be compiled, and graphs
        with self._timed("warm_front"):
            for batch in _doubling(max_batch) if on_cuda else [1]:
                items = self.items(batch)
                for stage in itertools.takewhile(lambda stage: stage.name != "prompt", self.stages):
                    for _ in range(2 if stage.name == "retrieve" else 1):  # what comes again is captured
                        stage(items)

    def items(self, batch: int, start: int = 0, length: Length = _usual) -> list[Item]:
        """`batch` items of the corpus's own questions, from question `start` on, round and round.

        `length`: place to the number of tokens that the answer must have (None: as the generator is configured).
        """
        texts = [question.text for question in self.questions] or ["What is this about?"]
        places = range(start, start + batch)
        asked = [(texts[place % len(texts)], length(place)) for place in places]
        return [Item(text, self.k, tokens, None if tokens is None else True) for text, tokens in asked]

    def run(self, items: list[Item]) -> list[Item]:
        """All stages, one after the other, on one batch."""
        for stage in self.stages:
            stage(items)
        for item in items:
            if item.failure is not None:
                raise item.failure
        return items

    def embed(self, texts: Sequence[str], passages: bool) -> tuple[Rows, int]:
        """Vectors (N, dim) of texts, embedded as passages or as questions, and the tokens of all of them.

        Raises UserError for a text longer than the model reads.
        """
        tokens = [len(self.embedder.token_spans(text)) for text in texts]
        if self._most_embedded is not None and max(tokens) > self._most_embedded:
            raise UserError(
                f"a text of {max(tokens)} tokens: the embedder reads {self._most_embedded} at most"
            )
        embed = self.embedder.passages if passages else self.embedder.queries
        return embed(list(texts)), sum(tokens)

    @cached_property
    def _most_embedded(self) -> int | None:
        most = self.embedder.describe().get("max_tokens")
        return most if isinstance(most, int) else None

    @property
    def upstreams(self) -> list[Upstream]:
        """The servers that parts of this pipeline ask."""
        return [part.upstream for part in (self.embedder, self.generator) if isinstance(part, Remote)]

    @property
    def questions(self) -> list[LabelledQuestion]:
        """The corpus's questions with known answers."""
        return self.corpus.questions

    def describe(self) -> dict[str, Scalar]:
        """What the record says of this pipeline: models, dtype, parameters, threads, and what is not real."""
        parts: dict[str, Corpus | Embedder | Retriever | Reranker | Generator] = {
            "corpus": self.corpus,
            "embedder": self.embedder,
            "retriever": self.retriever,
            **({"reranker": self.reranker} if self.reranker is not None else {}),
            "generator": self.generator,
        }
        described: dict[str, Scalar] = {"device": self.device, "threads": self.threads, "k": self.k}
        for group, part in parts.items():
            described[f"{group}.name"] = part.name
            described.update({f"{group}.{name}": value for name, value in part.describe().items()})
        cost: dict[str, Scalar] = getattr(self.retriever, "cost", {})
        described.update({f"index.{name}": value for name, value in cost.items()})
        described.update({f"load_s.{part}": round(seconds, 3) for part, seconds in self.load_s.items()})
        return described

    def engine_rate(self, batch: int, repeats: int, length: Length = _usual) -> float:
        """Requests a second of the bare pipeline, `repeats` batches of `batch` of `items`."""
        if batch < 1 or repeats < 1:
            raise UserError(f"engine rate of {repeats} batches of {batch}: both must be at least 1")
        started = time.perf_counter()
        for start in itertools.islice(itertools.count(0, batch), repeats):
            self.run(self.items(batch, start, length))
        return batch * repeats / (time.perf_counter() - started)


def _doubling(most: int) -> list[int]:
    """1, 2, 4 and so on, and `most`."""
    return [*itertools.takewhile(lambda size: size < most, (2**i for i in itertools.count())), most]
