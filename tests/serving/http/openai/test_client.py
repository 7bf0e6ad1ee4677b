"""The real `openai` package against the service: what it sends is understood, and it understands the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from serving_doubles import FakePipeline, Gate, eventually, served

from mlsys.rag.item import Item
from mlsys.serving.http.handler import Handler
from mlsys.serving.modes import Answer
from mlsys.serving.request import BadGateway, Request

from ..test_app import batch

Served = tuple[AsyncOpenAI, FakePipeline, Handler]
QUESTION: Any = [{"role": "user", "content": "who?"}]


@pytest.fixture
async def client() -> AsyncIterator[Served]:
    pipeline = FakePipeline()
    async with (
        served(*batch(pipeline, max_tokens=64, default_timeout_ms=60_000.0)) as (url, handler),
        AsyncOpenAI(base_url=f"{url}/v1", api_key="mine", max_retries=0) as made,
    ):
        yield made, pipeline, handler


async def test_the_rag_answers_the_last_message_with_its_passages(client: Served) -> None:
    asked, pipeline, _ = client
    conversation: Any = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": "Yes?"},
        *QUESTION,
    ]
    seen = list[Item]()
    pipeline.hooks["prompt"] = seen.extend
    answer = await asked.chat.completions.create(
        model="rag", messages=conversation, max_tokens=9, temperature=0.5, top_p=0.9, seed=7, user="u",
        extra_body={"k": 3, "ignore_eos": True},
    )  # fmt: skip
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "rag"
    assert answer.choices[0].message.content == "answer to who?"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        4,
        3,
        7,
    )
    assert answer.model_extra is not None
    assert [passage["text"] for passage in answer.model_extra["passages"]] == [
        f"passage {i}" for i in range(3)
    ]
    (item,) = seen
    assert (item.query, item.k, item.max_tokens, item.exact_tokens) == ("who?", 3, 9, True)
    assert (item.sampling.temperature, item.sampling.top_p, item.sampling.seed) == (0.5, 0.9, 7)
    assert [message["content"] for message in item.messages] == ["Be short.", "Hello\nthere", "Yes?"]


async def test_the_bare_generator_retrieves_nothing(client: Served) -> None:
    asked, pipeline, _ = client
    seen = list[Item]()
    pipeline.hooks["prompt"] = seen.extend
    answer = await asked.chat.completions.create(model="fake", messages=QUESTION, max_completion_tokens=5)
    assert answer.choices[0].message.content == "answer to who?"
    assert answer.model_extra == {}
    conversation: Any = [*QUESTION, answer.choices[0].message, *QUESTION]
    again = await asked.chat.completions.create(model="fake", messages=conversation)
    assert again.choices[0].finish_reason == "stop"
    both: Any = {"max_completion_tokens": 4}
    text = await asked.completions.create(
        model="fake", prompt="Once upon", stop=[" to"], max_tokens=4, extra_body=both
    )
    assert (text.choices[0].text, text.object) == ("answer", "text_completion")
    assert [(item.retrieves, item.max_tokens, item.continues) for item in seen] == [
        (False, 5, None),
        (False, None, None),
        (False, 4, "Once upon"),
    ]
    assert [len(item.messages) for item in seen] == [1, 3, 0]


async def test_a_stream(client: Served) -> None:
    asked, _, handler = client
    stream = await asked.chat.completions.create(
        model="rag", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    first, *pieces, last, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert first.model_extra is not None
    assert len(first.model_extra["passages"]) == 2
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "answer to who?"
    assert [chunk.choices[0].finish_reason for chunk in (first, *pieces, last)] == [None, None, "stop"]
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == 7
    assert len({chunk.id for chunk in chunks}) == 1
    texts = await asked.completions.create(model="rag", prompt="who?", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in texts]) == "answer to who?"
    await eventually(lambda: handler.in_flight == 0)


async def test_the_synchronous_client(client: Served) -> None:
    asked, _, _ = client

    def ask() -> tuple[str, str]:
        with OpenAI(base_url=asked.base_url, api_key="mine", max_retries=0) as sync:
            whole = sync.chat.completions.create(model="rag", messages=QUESTION)
            stream = sync.chat.completions.create(model="rag", messages=QUESTION, stream=True)
            pieces = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return whole.choices[0].message.content or "", pieces

    assert await asyncio.to_thread(ask) == ("answer to who?", "answer to who?")


async def test_models_are_listed_and_found(client: Served) -> None:
    asked, _, _ = client
    assert [model.id async for model in asked.models.list()] == ["rag", "fake"]
    assert (await asked.models.retrieve("vectors")).id == "vectors"
    with pytest.raises(openai.NotFoundError) as caught:
        await asked.models.retrieve("gpt")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_vectors_in_both_encodings(client: Served) -> None:
    asked, _, _ = client
    packed = await asked.embeddings.create(model="vectors", input=["a", "bcd"])
    plain = await asked.embeddings.create(model="vectors", input=["a", "bcd"], encoding_format="float")
    assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]
    assert [row.index for row in plain.data] == [0, 1]
    assert plain.data[1].embedding == [3.0, -0.5, pytest.approx(1 / 3, abs=1e-7)]
    assert plain.usage.prompt_tokens == 4
    passage = await asked.embeddings.create(model="vectors", input="a", extra_body={"input_type": "passage"})
    assert passage.data[0].embedding[1] == 0.5
    with pytest.raises(openai.InternalServerError, match="cannot embed this"):
        await asked.embeddings.create(model="vectors", input="fail")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 3}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 2}, "n"),
    ({"max_tokens": 65}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [""]}, "stop[0]"),
    ({"logprobs": True}, "logprobs"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": "x" * 51}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
    ({"messages": [*QUESTION, {"role": "assistant", "content": "so"}]}, "messages[1].role"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content"),
    ({"messages": QUESTION * 257}, "messages"),
    ({"extra_body": {"k": 6}}, "k"),
    ({"extra_body": {"nonsense": 1}}, "nonsense"),
]  # fmt: skip


async def test_what_is_wrong_or_not_supported_is_named(client: Served) -> None:
    for fields, param in WRONG:
        with pytest.raises(openai.BadRequestError) as caught:
            await client[0].chat.completions.create(**{"model": "rag", "messages": QUESTION, **fields})
        assert caught.value.param == param, caught.value.message
        assert caught.value.type == "invalid_request_error"
        assert param in caught.value.message


async def test_what_asks_for_nothing_is_taken(client: Served) -> None:
    answer = await client[0].chat.completions.create(
        model="rag", messages=QUESTION, n=1, frequency_penalty=0, presence_penalty=0.0, logprobs=False, tools=[],
        logit_bias={}, response_format={"type": "text"}, store=False, stop=None, seed=None, parallel_tool_calls=True,
    )  # fmt: skip
    assert answer.choices[0].message.content == "answer to who?"


async def test_one_text_is_continued_at_a_time(client: Served) -> None:
    wrong: list[Any] = [["a", "b"], [1, 2], [[1]], ""]
    for prompt in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            await client[0].completions.create(model="fake", prompt=prompt)
        assert caught.value.param == "prompt"


async def test_vectors_are_bounded(client: Served) -> None:
    wrong: list[Any] = [[], [""], [1, 2], ["x"] * 257, "x" * 51]
    for texts in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            await client[0].embeddings.create(model="vectors", input=texts)
        assert (caught.value.param or "").startswith("input")
        with pytest.raises(openai.BadRequestError, match="dimensions: not supported here"):
            await client[0].embeddings.create(model="vectors", input="x", dimensions=2)


async def test_paths_methods_and_bodies_that_are_none(client: Served) -> None:
    asked, _, _ = client
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        await asked.chat.completions.create(model="gpt-4", messages=QUESTION)
    with pytest.raises(openai.NotFoundError) as caught:
        await asked.images.generate(model="x", prompt="x")
    assert caught.value.type == "not_found_error"
    with pytest.raises(openai.APIStatusError) as refused:
        await asked.get("/chat/completions", cast_to=object)
    assert (refused.value.status_code, refused.value.type) == (405, "invalid_request_error")
    as_json: Any = {"headers": {"content-type": "application/json"}}
    with pytest.raises(openai.BadRequestError, match="the body"):
        await asked.post("/chat/completions", cast_to=object, content=b"{", options=as_json)
    with pytest.raises(openai.BadRequestError, match=r"server\.max_query_chars") as long:
        await asked.completions.create(model="rag", prompt="x" * 51)
    assert long.value.param == "prompt"
    with pytest.raises(openai.APIStatusError) as large:
        await asked.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "x" * 70_000}]
        )
    assert (large.value.status_code, large.value.type) == (413, "invalid_request_error")


async def test_a_full_queue_is_tried_again_when_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, gate = FakePipeline(), Gate()
    service, chosen = batch(pipeline, max_queue=1)
    waits = list[float]()

    async def wait(seconds: float, *_: object) -> None:
        waits.append(seconds)
        gate.opened.set()
        await eventually(lambda: service.running == 0 and service.queued() == 0)

    async with served(service, chosen) as (url, _), AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as asked:
        pipeline.hooks["embed"] = gate
        busy = [asyncio.create_task(asked.chat.completions.create(model="rag", messages=QUESTION))]
        await gate.reached()
        busy.append(asyncio.create_task(asked.chat.completions.create(model="rag", messages=QUESTION)))
        await eventually(lambda: service.queued() == 1)
        with pytest.raises(openai.RateLimitError) as caught:
            await asked.with_options(max_retries=0).chat.completions.create(model="rag", messages=QUESTION)
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) >= 1
        monkeypatch.setattr("anyio.sleep", wait)
        monkeypatch.setattr("openai._base_client.anyio.sleep", wait, raising=False)
        answer = await asked.with_options(max_retries=1).chat.completions.create(
            model="rag", messages=QUESTION
        )
        monkeypatch.undo()
        assert answer.choices[0].message.content == "answer to who?"
        assert waits == [pytest.approx(1.0, abs=1)]
        await asyncio.gather(*busy)


async def test_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    async with served(*batch(FakePipeline(), api_key="env:MLSYS_TEST_KEY")) as (url, _):
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="guess", max_retries=0) as asked:
            with pytest.raises(openai.AuthenticationError) as caught:
                await asked.models.list()
            assert caught.value.code == "invalid_api_key"
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="s3cret") as asked:
            assert (await asked.chat.completions.create(model="rag", messages=QUESTION)).usage is not None


async def test_failures_before_and_after_the_first_chunk(
    client: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, pipeline, handler = client
    with pytest.raises(openai.InternalServerError, match="cannot embed this"):
        await asked.chat.completions.create(
            model="rag", messages=[{"role": "user", "content": "fail embed"}], stream=True
        )
    pipeline.hooks["generate"] = gate = Gate()
    with pytest.raises(openai.APIStatusError) as late:
        await asked.chat.completions.create(model="rag", messages=QUESTION, extra_body={"timeout_ms": 30})
    assert (late.value.status_code, late.value.code) == (504, "timeout")
    gate.opened.set()

    async def half(request: Request) -> Answer:
        assert request.stream is not None
        request.stream.write("half", 1)
        await asyncio.sleep(0.01)
        raise BadGateway("it is gone")

    monkeypatch.setattr(handler.service, "answer", half)
    stream = await asked.chat.completions.create(model="rag", messages=QUESTION, stream=True)
    pieces = list[str]()

    async def read() -> None:
        async for chunk in stream:
            pieces.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match="it is gone"):
        await read()
    assert pieces == ["", "half"]


async def test_a_client_that_drops_its_connection_ends_its_request(
    client: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _, handler = client
    ended = asyncio.Event()

    async def endless(request: Request) -> Answer:
        assert request.stream is not None
        request.stream.write("and", 1)
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        return Answer(b"")

    monkeypatch.setattr(handler.service, "answer", endless)
    stream = await asked.chat.completions.create(model="rag", messages=QUESTION, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await asyncio.wait_for(ended.wait(), 300)
    await eventually(lambda: handler.in_flight == 0)
    assert handler.service.meters.codes == {499: 1}
