"""Embedders at an address: what is sent, whose vectors are taken, and what they must be like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import upstream_double as double
from aiohttp import web
from sections import composed
from upstream_double import Behaviour, UpstreamDouble, embeds, vector

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.rag.embedder.remote import PROBES, RemoteEmbedder
from mlsys.rag.upstream import UpstreamError

Started = Callable[..., tuple[RemoteEmbedder, UpstreamDouble]]
INFO = {
    "model_id": "BAAI/bge-small", "model_sha": "abc", "model_dtype": "float16", "version": "1.9.0",
    "max_input_length": 512, "max_client_batch_size": 32,
}  # fmt: skip


def says(content: Any) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        return web.json_response(content)

    return behave


@pytest.fixture
def start() -> Iterator[Started]:
    with ExitStack() as stack:

        def start(option: str, *behave: Behaviour, loaded: bool = True, **knobs: Any) -> Any:
            there, _ = stack.enter_context(double.running(*behave))
            there.gets |= {"/info": INFO, "/health": {}}
            section = composed(f"embedder={option}")["embedder"]
            quick = {"backoff_ms": 1.0, "start_timeout_s": 0.0, "url": there.url}
            embedder = signatures.make("embedder", section | quick | knobs)
            stack.callback(embedder.upstream.close)
            if loaded:
                embedder.load("cpu")
                there.asked.clear()
            return embedder, there

        yield start


@pytest.mark.parametrize("option", ["openai", "tei"])
def test_vectors_come_in_the_texts_order_normalised_or_not_as_said(start: Started, option: str) -> None:
    texts = [f"{'a' * size} text" for size in range(1, 8)]
    raw = np.array([vector(text) for text in texts], np.float32)
    embedder, there = start(option, embeds(), normalize=False, batch_size=2)
    np.testing.assert_array_equal(embedder.queries(texts), raw)
    assert len(there.asked) == 4
    embedder, _ = start(option, embeds(), batch_size=2)
    found = embedder.passages(texts)
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-6)
    assert found.dtype == np.float32


def test_what_openai_is_asked(start: Started) -> None:
    embedder, there = start("openai", embeds(), query_prefix="query: ")
    embedder.queries(["why?"])
    embedder.passages(["so."])
    common = {"path": "/v1/embeddings", "model": "m", "encoding_format": "float"}
    assert there.asked == [common | {"input": ["query: why?"]}, common | {"input": ["so."]}]


def test_what_tei_is_asked_and_says_of_itself(start: Started) -> None:
    embedder, there = start("tei", embeds(), normalize=False, truncate=True)
    embedder.queries(["why?"])
    assert there.asked == [{"path": "/embed", "inputs": ["why?"], "normalize": False, "truncate": True}]
    assert embedder.describe() == {
        "model": "BAAI/bge-small", "revision": "abc", "dtype": "float16",
        "server_version": "1.9.0", "server": "tei", "max_input_length": 512, "not_known": "hardware",
        "dim": 3, "query_prefix": "", "passage_prefix": "",
    }  # fmt: skip


def test_a_batch_larger_than_tei_takes_is_refused_at_the_start(start: Started) -> None:
    embedder, _ = start("tei", embeds(), loaded=False, batch_size=33)
    with pytest.raises(UserError, match=r"embedder\.batch_size=33: .* takes 32 at most"):
        embedder.load("cpu")


@pytest.mark.parametrize("option", ["openai", "tei"])
def test_another_dimension_than_was_said_is_refused_at_the_start(start: Started, option: str) -> None:
    embedder, _ = start(option, embeds(), loaded=False, dim=384)
    with pytest.raises(UserError, match=r"embedder\.dim=384: embedder\.url=.* makes vectors of 3 numbers"):
        embedder.load("cpu")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([[1.0, 2.0]], "no vectors"),
        ({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}, r"shape \(1, 2\) for 1 texts, not \(1, 3\)"),
        ({"data": []}, "vectors of shape"),
        ({"data": [{"index": 0, "embedding": [1.0, "x", 2.0]}]}, "no vectors"),
        ({"data": [{"index": 0, "embedding": [1.0, 1e300, 2.0]}]}, "not finite"),
    ],
    ids=["list", "dim", "none", "text", "overflow"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_are_no_vectors_fails_in_words(start: Started, answer: Any, said: str) -> None:
    embedder, _ = start("openai", embeds(), says(answer))
    with pytest.raises(UpstreamError, match=said) as caught:
        embedder.queries(["why?"])
    assert caught.value.status == 502


def test_other_weights_under_the_same_name_have_another_identity(start: Started) -> None:
    with double.running(embeds()) as (there, _):
        identities = []
        for behaviour in (embeds(), embeds(), embeds(shift=1000.0)):
            there.behave = [behaviour]
            section = composed("embedder=openai")["embedder"]
            embedder = signatures.make("embedder", section | {"url": there.url})
            embedder.load("cpu")
            embedder.upstream.close()
            identities.append(embedder.identity)
    assert identities[0] == identities[1] != identities[2]
    assert there.asked[0]["input"] == list(PROBES)


def test_a_server_that_embeds_nothing_is_one_line_at_the_start(start: Started) -> None:
    embedder, _ = start("tei", double.fails, loaded=False)
    with pytest.raises(UserError, match="answers 500: CUDA out of memory"):
        embedder.load("cpu")
