"""The whole chain without weights: stages, descriptions, quality, bad input."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scalars import number
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag import cache
from mlsys.rag.corpus import Passage
from mlsys.rag.embedder.hashing import Hashing
from mlsys.rag.generator.simulated import Simulated
from mlsys.rag.item import Stage
from mlsys.rag.pipeline import Item, Pipeline
from mlsys.rag.quality import hit_rates
from mlsys.rag.reranker import Reranker
from mlsys.record import Scalar


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slept: list[float]) -> Pipeline:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))
    generator = option(
        "generator/simulated",
        base_ms=5,
        per_request_ms=2,
        per_token_ms=1,
        max_new_tokens=10,
        sleep=slept.append,
    )
    made = Pipeline(
        option("corpus/animals"),
        option("embedder/hashing"),
        option("retriever/exact"),
        generator,
        threads=1,
        device="cpu",
    )
    made.load()
    return made


def test_the_stages_come_in_order_and_fill_the_item(pipeline: Pipeline, slept: list[float]) -> None:
    assert [stage.name for stage in pipeline.stages] == ["embed", "retrieve", "prompt", "generate"]
    (item,) = pipeline.run([Item("Which colourful birds can hover?", k=2)])
    assert item.embedding is not None
    assert item.embedding.shape == (1024,)
    assert item.passages[0].text.startswith("Hummingbirds")
    assert len(item.passages) == 2
    assert item.passages[0].score > item.passages[1].score
    assert item.passages[0].text in item.prompt
    assert item.query in item.prompt
    assert item.prompt_tokens == len(item.prompt.split())
    assert item.tokens == len(item.result_ids) == len(item.result.split()) == 10
    assert slept == [pytest.approx(0.017)]


def test_a_batch_gives_the_answers_of_single_requests(pipeline: Pipeline, slept: list[float]) -> None:
    queries = [question.text for question in pipeline.questions]
    together = [item.result for item in pipeline.run([Item(query) for query in queries])]
    alone = [pipeline.run([Item(query)])[0].result for query in queries]
    assert together == alone
    assert len(set(alone)) == len(queries)
    assert slept[0] == pytest.approx((5 + 2 * 6 + 10) / 1000)


def test_each_item_gets_its_own_k_and_never_more_than_there_are(pipeline: Pipeline) -> None:
    one, many = pipeline.run([Item("cats", k=1), Item("cats", k=9)])
    assert (len(one.passages), len(many.passages)) == (1, 3)
    assert sorted(hit.id for hit in many.passages) == [0, 1, 2]


def test_a_prompt_that_is_too_long_loses_words_of_its_passages(pipeline: Pipeline) -> None:
    assert isinstance(pipeline.generator, Simulated)
    pipeline.generator._max_prompt_tokens = 28
    (item,) = pipeline.run([Item("Which birds can hover in the air?", k=2)])
    assert item.prompt_tokens is not None
    assert item.prompt_tokens <= 28
    assert item.query in item.prompt
    assert "[1]" in item.prompt
    with pytest.raises(UserError, match=r"query of \d+ tokens with its prompt: at most 28 fit"):
        pipeline.run([Item("word " * 40)])


def test_the_description_says_what_is_not_real(pipeline: Pipeline) -> None:
    described = pipeline.describe()
    assert described["generator.note"] == "simulated: a cost model, no language model"
    assert described["embedder.note"] == "hashed words, not a language model"
    assert described["corpus.passages"] == 3
    assert described["threads"] == 1
    assert described["device"] == "cpu"


def test_quality_counts_the_known_answers(pipeline: Pipeline) -> None:
    quality = hit_rates(pipeline)
    assert quality["retrieval_questions"] == 6
    assert quality["hit_rate.3"] == 1.0
    assert number(quality["retrieval_hit_rate"]) >= number(quality["hit_rate.1"]) >= 0.5
    assert "hit_rate.10" not in quality
    assert hit_rates(pipeline, limit=2)["retrieval_questions"] == 2


def test_the_engine_rate_counts_requests(pipeline: Pipeline, slept: list[float]) -> None:
    assert pipeline.engine_rate(batch=4, repeats=3) > 0
    assert slept == [pytest.approx(0.023)] * 3


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01", b"text"])
def test_a_damaged_index_is_named(pipeline: Pipeline, content: bytes) -> None:
    (kept,) = cache.directory("index").glob("*.npy")
    kept.write_bytes(content)
    with pytest.raises(UserError, match=f"MLSYS_CACHE: {kept} is damaged: delete it"):
        Pipeline(
            option("corpus/animals"),
            option("embedder/hashing"),
            option("retriever/exact"),
            option("generator/simulated"),
            device="cpu",
            threads=1,
        ).load()


def test_the_index_is_computed_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Hashing, texts: list[str]) -> None:
        raise RuntimeError("computed again")

    monkeypatch.setattr(Hashing, "passages", forbidden)
    again = Pipeline(
        option("corpus/animals"),
        option("embedder/hashing"),
        option("retriever/exact"),
        option("generator/simulated"),
        device="cpu",
        threads=1,
    )
    again.load()
    with pytest.raises(RuntimeError, match="computed again"):
        Pipeline(
            option("corpus/animals"),
            option("embedder/hashing", dim=64),
            option("retriever/exact"),
            option("generator/simulated"),
            device="cpu",
            threads=1,
        ).load()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: option("generator/simulated", base_ms=-1), r"generator.base_ms=-1.0 must be 0 or more"),
        (
            lambda: option("generator/simulated", max_new_tokens=0),
            r"generator.max_new_tokens=0 must be at least 1",
        ),
        (lambda: option("embedder/hashing", dim=0), r"embedder.dim=0 must be at least 1"),
        (
            lambda: option("retriever/exact", metric="l3"),
            r"retriever.metric=l3 is none of cosine, dot, l1, l2, sqeuclidean",
        ),
        (
            lambda: Pipeline(
                option("corpus/animals"),
                option("embedder/hashing"),
                option("retriever/exact"),
                option("generator/simulated"),
                threads=0,
            ),
            r"server.threads=0 must",
        ),
    ],
)
def test_bad_knobs_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_hashing_gives_unit_vectors_and_survives_empty_text() -> None:
    rows = option("embedder/hashing", dim=64).passages(["cats and dogs", "", "Cats AND dogs"])
    assert np.linalg.norm(rows[0]) == pytest.approx(1)
    assert not rows[1].any()
    assert (rows[0] == rows[2]).all()


def test_warming_tries_every_size_at_which_a_gpu_may_choose_another_kernel(pipeline: Pipeline) -> None:
    seen: dict[str, list[int]] = {stage.name: [] for stage in pipeline.stages}

    class Watched:
        def __init__(self, stage: Stage) -> None:
            self.name, self._stage = stage.name, stage

        def __call__(self, items: list[Item]) -> None:
            seen[self.name].append(len(items))
            self._stage(items)

    pipeline.stages = tuple(Watched(stage) for stage in pipeline.stages)
    pipeline.device = "cuda"
    pipeline.warm(6)
    assert seen["embed"] == [1, 2, 4, 6, 1, 6]
    assert seen["retrieve"] == [1, 1, 2, 2, 4, 4, 6, 6, 1, 6]
    assert seen["prompt"] == seen["generate"] == [1, 6]


def with_retriever(retriever: str, reranker: Reranker | None = None, **knobs: object) -> Pipeline:
    made = Pipeline(
        option("corpus/animals"),
        option("embedder/hashing"),
        option(f"retriever/{retriever}", **knobs),
        option("generator/simulated", sleep=lambda _: None),
        threads=1,
        device="cpu",
        reranker=reranker,
    )
    made.load()
    return made


class ByLength:
    """A reranker that likes short passages."""

    name, candidates = "by_length", 3

    def load(self, device: str) -> None:
        """Nothing to load."""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return np.array([-len(text) for _, text in pairs], np.float32)

    def describe(self) -> dict[str, Scalar]:
        return {"candidates": self.candidates}


def test_a_reranker_chooses_among_its_candidates_in_a_stage_of_its_own(pipeline: Pipeline) -> None:
    reranked = with_retriever("exact", ByLength())
    assert [stage.name for stage in reranked.stages] == ["embed", "retrieve", "rerank", "prompt", "generate"]
    (item,) = reranked.run([Item("Which colourful birds can hover?", k=2)])
    texts = sorted((passage.text for passage in reranked.corpus.passages), key=len)
    assert [hit.text for hit in item.passages] == texts[:2]
    assert [hit.score for hit in item.passages] == [-len(text) for text in texts[:2]]
    assert reranked.describe()["reranker.name"] == "by_length"
    assert "reranker.name" not in pipeline.describe()
    nothing = Item("Who are you?", retrieves=False)
    assert reranked.run([nothing])[0].passages == []


def test_a_retriever_by_words_embeds_no_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))
    made = with_retriever("bm25")
    assert [stage.name for stage in made.stages] == ["retrieve", "prompt", "generate"]
    assert not list((tmp_path / "index").glob("*.npy"))
    assert made.run([Item("Which colourful birds can hover?")])[0].passages[0].text.startswith("Hummingbirds")
    quality = hit_rates(made)
    assert quality["hit_rate.1"] == 1
    assert 0 < number(quality["retriever.recall_at_k"]) < 1, "it does not find what vectors find"


def test_recall_is_that_of_the_exact_retriever_with_the_same_filter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pipeline: Pipeline
) -> None:
    (first, *_) = pipeline.corpus.passages
    made = with_retriever("sqlite_vec", filter={"source": first.source})
    assert hit_rates(made)["retriever.recall_at_k"] == 1
    assert hit_rates(pipeline)["retriever.recall_at_k"] == 1
    described = made.describe()
    assert described["retriever.filter.source"] == first.source
    assert number(described["index.bytes"]) > 0
    assert {"index.memory_bytes", "index.build_s"} <= set(described)


def test_passages_come_and_go_where_the_store_can(pipeline: Pipeline) -> None:
    changing = with_retriever("usearch")
    found = Item("How do axolotls regrow their limbs?", k=1)
    changing.add([Passage(3, "Axolotls regrow lost limbs.", "new", 0)])
    assert changing.run([found])[0].passages[0].text == "Axolotls regrow lost limbs."
    changing.remove([3])
    assert changing.run([found])[0].passages[0].id != 3
    with pytest.raises(UserError, match=r"^added passages must have the ids from 4 on"):
        changing.add([Passage(3, "again", "new", 0)])
    with pytest.raises(UserError, match=r"^retriever=exact cannot change its index"):
        pipeline.remove([0])
