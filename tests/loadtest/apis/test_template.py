from __future__ import annotations

import time
from typing import Any

import pytest
from stranger_double import Answer, Stranger, answering, says, streams

from mlsys.errors import UserError
from mlsys.loadtest import apis
from mlsys.loadtest.client import Client
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, Row

FORM: dict[str, Any] = {
    "api": "template",
    "path": "/ask",
    "body": {"input": {"question": "{query}", "top": "{k}"}, "note": "about {query}", "most": "{max_tokens}"},
    "answer": "$.output[0].text",
}
BODY = {"output": [{"text": "It is so."}], "usage": {"out": 5}}


async def ask(told: Answer, stream: bool = False, text: str = "Why?", **knobs: Any) -> tuple[Row, Any]:
    stranger, row, started = Stranger({"/ask": told}), Row(0, 0), time.perf_counter()
    api = apis.make(FORM | knobs)
    async with (
        answering(stranger) as url,
        Client(url, {}, 2, 10.0, None, 5.0 if stream else None, api) as client,
    ):
        await client.ask(row, Question(0, text, None), lambda: time.perf_counter() - started)
    return row, stranger.asked[0] if stranger.asked else None


async def test_a_question_is_put_where_the_form_has_it_and_the_answer_found_where_it_lies() -> None:
    row, (method, _, body) = await ask(says(BODY), text='{k} "why"?')
    assert method == "POST"
    assert body == {
        "input": {"question": '{k} "why"?', "top": 2},
        "note": 'about {k} "why"?',
        "most": None,
    }
    assert (row.outcome, row.tokens) == (OK, None)


async def test_a_get_has_the_question_in_its_path_and_no_body() -> None:
    row, (method, path, body) = await ask(
        says(BODY), method="GET", path="/ask?q={query}&k={k}", body=None, text="a & b"
    )
    assert (row.outcome, method, path, body) == (OK, "GET", "/ask?q=a%20%26%20b&k=2", None)


async def test_the_number_of_tokens_is_read_where_it_is_told() -> None:
    row, _ = await ask(says(BODY), tokens="$.usage.out")
    assert row.tokens == 5


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"output": []}, "the answer has nothing at $.output[0].text"),
        ({"output": [{"text": 3}]}, "what the answer has at $.output[0].text is no text"),
        ({"output": [{"text": ""}]}, "the answer has no text"),
        (7, "the answer has nothing at $.output[0].text"),
    ],
)
async def test_what_is_no_answer_is_said(body: Any, error: str) -> None:
    row, _ = await ask(says(body))
    assert (row.outcome, row.error) == (FAILED, error)


async def test_a_stream_is_put_together_from_its_events() -> None:
    row, _ = await ask(
        streams({"piece": "It"}, {"other": 1}, {"piece": " is"}, done=False), stream=True, answer="$.piece"
    )
    assert (row.outcome, row.tokens, row.tokens_estimated) == (OK, 2, True)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"method": "DELETE"}, "server.method=DELETE is none of POST, PUT, GET"),
        ({"path": "ask"}, "server.path=ask must begin with /: server.api=template asks at that path"),
        (
            {"body": {"q": "x"}},
            "server.body has no {query}, and neither has server.path: no question would be asked",
        ),
        ({"answer": None}, "server.answer must be the JSONPath of the answer's text, such as $.answer"),
        ({"answer": "$.["}, "server.answer=$.[ is no JSONPath: expected a shorthand selector"),
        ({"tokens": "out"}, "server.tokens=out is no JSONPath: "),
        (
            {"model": "m"},
            "server.model=m means nothing to server.api=template, which has method, path, body, answer, tokens",
        ),
        (
            {"api": "grpc"},
            "server.api=grpc is none of rag, openai, completions, embeddings, tei, template",
        ),
    ],
)
def test_a_form_that_makes_no_sense_is_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        apis.make(FORM | knobs)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_without_its_extra_one_line_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^server.answer: jsonpath is not installed"):
        apis.make(FORM)
