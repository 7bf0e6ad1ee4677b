from __future__ import annotations

import time
from typing import Any

import pytest
from stranger_double import Answer, Stranger, answering, says, streams

from mlsys.loadtest import apis
from mlsys.loadtest.client import Client
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row

QUESTION = Question(3, "Why?", 0)
USAGE = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
WHOLE = {"choices": [{"message": {"role": "assistant", "content": "Because of it."}}], "usage": USAGE}


def chunk(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}], "usage": None}


STREAM = (chunk(""), chunk("Because"), chunk(" of"), chunk(" it."), chunk("", "stop"))


async def ask(
    path: str, answer: Answer, stream: bool = False, question: Question = QUESTION, **knobs: Any
) -> tuple[Row, list[Any]]:
    """The row of one question with a length of 4, and the bodies that the service got."""
    stranger, row, started = Stranger({path: answer}), Row(0, 0, max_tokens=4), time.perf_counter()
    api = apis.make({"api": "openai", **knobs})
    async with (
        answering(stranger) as url,
        Client(f"{url}/v1", {}, 2, 10.0, None, 5.0 if stream else None, api) as client,
    ):
        await client.ask(row, question, lambda: time.perf_counter() - started)
    return row, [body for _, _, body in stranger.asked]


async def chat(answer: Answer, stream: bool = False, **knobs: Any) -> Row:
    row, _ = await ask("/v1/chat/completions", answer, stream, **knobs)
    return row


async def test_a_chat_is_asked_for_in_a_length_and_its_usage_is_read() -> None:
    row, asked = await ask("/v1/chat/completions", says(WHOLE), model="m", parameters={"temperature": 0})
    assert asked == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Why?"}],
            "max_tokens": 4,
            "ignore_eos": True,
            "temperature": 0,
        }
    ]
    assert (row.outcome, row.tokens, row.prompt_tokens, row.tokens_estimated) == (OK, 4, 7, False)


async def test_a_field_that_a_service_does_not_know_is_left_out_and_the_length_is_a_limit() -> None:
    short = WHOLE | {"usage": USAGE | {"completion_tokens": 3}}
    row, asked = await ask("/v1/chat/completions", says(short), parameters={"ignore_eos": None})
    assert "ignore_eos" not in asked[0]
    assert (row.outcome, row.tokens) == (OK, 3)


@pytest.mark.parametrize("api", ["openai", "completions"])
async def test_a_stream_has_times_and_the_tokens_of_its_usage(api: str) -> None:
    path, events = "/v1/chat/completions", list[dict[str, Any]](STREAM)
    if api == "completions":
        path = "/v1/completions"
        events = [{"choices": [{"text": word, "finish_reason": None}]} for word in ("Be", "cause")]
    row, asked = await ask(path, streams(*events, {"choices": [], "usage": USAGE}), stream=True, api=api)
    assert asked[0]["stream_options"] == {"include_usage": True}
    assert row.outcome == OK, row.error
    assert (row.tokens, row.prompt_tokens, row.tokens_estimated) == (4, 7, False)
    assert row.first_text_s is not None
    assert 0 < row.first_text_s <= row.done_s
    assert row.itl_ms is not None
    assert len(row.itl_ms) == (2 if api == "openai" else 1)


async def test_a_stream_and_a_whole_answer_of_the_same_text_have_the_same_digest() -> None:
    whole = await chat(says(WHOLE))
    streamed = await chat(streams(*STREAM, {"choices": [], "usage": USAGE}), stream=True)
    assert whole.answer == streamed.answer


async def test_a_stream_without_usage_counts_its_pieces_and_says_that_it_guessed() -> None:
    row = await chat(streams(*STREAM), stream=True)
    assert (row.outcome, row.tokens, row.tokens_estimated) == (OK, 3, True)


async def test_a_whole_answer_without_usage_has_no_number_of_tokens() -> None:
    row = await chat(says({"choices": WHOLE["choices"]}))
    assert (row.outcome, row.tokens, row.tokens_estimated) == (OK, None, False)


async def test_what_a_model_thinks_is_its_first_text() -> None:
    thought = {"choices": [{"delta": {"reasoning_content": "Hm."}, "finish_reason": None}]}
    row = await chat(streams(thought, *STREAM), stream=True)
    assert row.itl_ms is not None
    assert len(row.itl_ms) == 3


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"choices": []}, "the answer's choices: List should have at least 1 item after validation, not 0"),
        ({"choices": [{"message": {"content": " "}}]}, "the answer has no text"),
        ({"choices": [{"message": {"content": None}}]}, "the answer has no text"),
        ([], "the answer is no JSON object"),
        ({"error": {"message": "out\nof memory"}}, "the answer is an error: out of memory"),
        (
            {"object": "error", "message": "no such model", "code": 404},
            "the answer is an error: no such model",
        ),
        (
            WHOLE | {"usage": USAGE | {"completion_tokens": 5}},
            "the answer has 5 tokens instead of 4",
        ),
        (
            WHOLE | {"usage": {"completion_tokens": -1}},
            "the answer's usage.completion_tokens: Input should be greater than or equal to 0",
        ),
    ],
)
async def test_what_is_no_answer_is_said(body: Any, error: str) -> None:
    row = await chat(says(body))
    assert (row.outcome, row.error) == (FAILED, error)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "error"),
    [
        (400, {"error": {"message": "bad max_tokens"}}, FAILED, "status 400: bad max_tokens"),
        (404, {"detail": "Not Found"}, FAILED, "status 404: Not Found"),
        (422, {"detail": [{"msg": "Field required"}]}, FAILED, "status 422: Field required"),
        (429, {"error": "overloaded"}, REJECTED, "status 429: overloaded"),
        (500, ["x"], FAILED, "status 500"),
        (504, {"error": {"message": "late"}}, TIMED_OUT, "status 504: late"),
    ],
)
async def test_a_refusal_keeps_the_services_own_words(
    status: int, body: Any, outcome: str, error: str
) -> None:
    row = await chat(says(body, status, {"Retry-After": "3"}))
    assert (row.outcome, row.error, row.retry_after_s) == (outcome, error, 3.0)


async def test_a_refusal_that_is_no_json_is_one_all_the_same() -> None:
    from aiohttp import web

    async def html(_: web.Request, __: Any) -> web.StreamResponse:
        return web.Response(text="<h1>Bad gateway</h1>", status=502)

    row = await chat(html)
    assert (row.outcome, row.error) == (FAILED, "status 502")


@pytest.mark.parametrize(
    ("events", "outcome", "error"),
    [
        (STREAM[:3], FAILED, "the stream ended early, after 2 pieces"),
        (({"error": {"message": "boom"}},), FAILED, "the stream ends with an error: boom"),
        (({"error": {"message": "full", "code": 429}},), REJECTED, "status 429: full"),
        ((chunk("", "stop"),), FAILED, "the answer has no text"),
        (("{",), FAILED, "JSONDecodeError"),
        (("[1]",), FAILED, "an event of the stream is no JSON object"),
    ],
)
async def test_a_stream_that_is_no_answer_is_said(events: Any, outcome: str, error: str) -> None:
    row = await chat(streams(*events, done=False), stream=True)
    assert row.outcome == outcome
    assert str(row.error).startswith(error)


async def test_a_stream_that_ends_without_done_is_whole_once_it_has_said_why_it_ended() -> None:
    row = await chat(streams(*STREAM, done=False), stream=True)
    assert row.outcome == OK


@pytest.mark.parametrize(("expect", "outcome"), [("because  OF", OK), ("therefore", FAILED)])
async def test_an_answer_must_hold_what_is_expected_of_it(expect: str, outcome: str) -> None:
    row = await chat(says(WHOLE), question=Question(0, "Why?", None, expect))
    assert (row.outcome, row.met) == (outcome, outcome == OK)


@pytest.mark.parametrize(
    ("vector", "outcome"),
    [([0.5, -1], OK), ("AAAA", OK), ([], FAILED), (["a"], FAILED), ([1e999], FAILED), ([True], FAILED)],
)
async def test_a_vector_has_finite_numbers(vector: Any, outcome: str) -> None:
    body = {"data": [{"embedding": vector, "index": 0}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    row, asked = await ask("/v1/embeddings", says(body), api="embeddings", model="e")
    assert asked == [{"model": "e", "input": "Why?"}]
    assert (row.outcome, row.tokens) == (outcome, None)
    assert row.prompt_tokens == (3 if outcome == OK else None)
