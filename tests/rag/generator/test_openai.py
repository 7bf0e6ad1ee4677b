"""A generator at an address: what is sent, what is read, and what each kind of misbehaviour costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import upstream_double as double
from sections import composed
from upstream_double import Behaviour, UpstreamDouble

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.rag.generator import Completion, Wanted
from mlsys.rag.generator.openai import OpenAI
from mlsys.rag.generator.stepping import Sampling
from mlsys.rag.upstream import UpstreamError

Started = Callable[..., tuple[OpenAI, UpstreamDouble]]
ASKED = [("Be brief.", "Is it so?")]


def made(url: str | None, **knobs: Any) -> OpenAI:
    section = composed("generator=openai")["generator"]
    quick = {"backoff_ms": 1.0, "start_timeout_s": 0.0, "timeout_ms": 20_000.0}
    generator: OpenAI = signatures.make("generator", section | quick | {"url": url} | knobs)
    return generator


@pytest.fixture
def start() -> Iterator[Started]:
    with ExitStack() as stack:

        def start(*behave: Behaviour, **knobs: Any) -> tuple[OpenAI, UpstreamDouble]:
            there, _ = stack.enter_context(double.running(*behave))
            generator = made(there.url, **knobs)
            stack.callback(generator.upstream.close)
            generator.load("cpu", 0)
            return generator, there

        yield start


def failure(answer: Completion) -> UpstreamError:
    assert isinstance(answer.failure, UpstreamError)
    return answer.failure


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_has_the_servers_text_and_counts(start: Started, stream: bool) -> None:
    generator, _ = start(double.streams if stream else double.answers, stream=stream)
    (answer,) = generator.generate(generator.prompts(ASKED))
    assert answer == Completion("Yes, indeed", 3, finish="stop", prompt_tokens=7)
    counts = generator.upstream.counts
    assert (counts["requests"], counts["succeeded"], counts["first_texts"]) == (1, 1, int(stream))


def test_what_is_asked_for_is_sent(start: Started) -> None:
    generator, there = start(double.streams, model="m", max_new_tokens=9)
    told = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    prompts = generator.prompts([*ASKED, told, "Once upon"])
    wanted = [Wanted(), Wanted(4, True, Sampling(0.7, 0.9, 5), ("\n",)), Wanted()]
    for each in zip(prompts, wanted, strict=True):
        generator.generate([each[0]], [each[1]])
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    chat, completions = "/v1/chat/completions", "/v1/completions"
    plain = {"model": "m", "max_tokens": 9, "temperature": 0.0, **stream}
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it so?"}]
    assert there.asked == [
        {"path": chat, **plain, "messages": asked},
        {
            "path": chat,
            **plain,
            "max_tokens": 4,
            "temperature": 0.7,
            "top_p": 0.9,
            "seed": 5,
            "stop": ["\n"],
            "ignore_eos": True,
            "messages": told,
        },
        {"path": completions, **plain, "prompt": "Once upon"},
    ]


def test_a_batch_is_asked_at_the_same_time_and_no_more_than_are_allowed(start: Started) -> None:
    generator, there = start(double.streams, max_in_flight=3)
    answers = generator.generate(generator.prompts(ASKED * 12))
    assert [answer.text for answer in answers] == ["Yes, indeed"] * 12
    assert there.most <= 3


def test_the_key_is_sent_and_never_shown(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", "s3cret")
    generator, there = start(double.streams, api_key="env:ENGINE_KEY")
    generator.generate(generator.prompts(ASKED))
    assert there.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(generator.describe())
    with pytest.raises(UserError, match=r"generator\.api_key must be env:NAME"):
        made(there.url, api_key="s3cret")


def test_the_record_says_who_answers_and_what_nobody_knows(start: Started) -> None:
    with double.running(double.streams) as (there, _):
        model = {"id": "org/model", "owned_by": "vllm", "root": "/weights", "max_model_len": 8192}
        there.gets = {"/v1/models": {"data": [model]}, "/version": {"version": "0.24.0"}}
        generator = made(f"{there.url}/v1/")
        generator.load("cpu", 0)
        generator.upstream.close()
    assert generator.describe() == {
        "url": f"{there.url}/v1",
        "model": "org/model",
        "server": "vllm",
        "server_version": "0.24.0",
        "root": "/weights",
        "max_model_len": 8192,
        "not_known": "weights' revision, dtype, hardware",
    }


def test_a_server_that_names_nothing_is_unknown(start: Started) -> None:
    with double.running(double.streams) as (there, _):
        there.gets = {}
        generator = made(there.url, model="mine")
        generator.load("cpu", 0)
        generator.upstream.close()
    assert generator.describe() | {"url": ""} == {
        "url": "",
        "model": "mine",
        "server": "unknown",
        "server_version": "unknown",
        "not_known": "server, version, weights' revision, dtype, hardware",
    }


@pytest.mark.parametrize(
    ("listed", "model", "said"),
    [
        (["a", "b"], None, "generator.model is missing: .* has a, b"),
        ([], None, "generator.model is missing: .* has no list of models"),
        (["a", "b"], "c", "generator.model=c is not there: .* has a, b"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_at_the_start(
    listed: list[str], model: str | None, said: str
) -> None:
    with double.running(double.streams) as (there, _):
        there.gets = {"/v1/models": {"data": [{"id": name} for name in listed]}}
        generator = made(there.url, model=model)
        with pytest.raises(UserError, match=said):
            generator.load("cpu", 0)
        generator.upstream.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "generator.url is missing: give an address such as http://127.0.0.1:8000/v1"),
        ("localhost:8000", "generator.url=localhost:8000 is not an address"),
        ("http://me:secret@host/v1", "generator.url holds a password"),
        ("http://host/v1?key=1", "must end with its path"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        made(url)
    assert "secret" not in str(caught.value)


def test_nobody_there_is_one_line_at_the_start() -> None:
    generator = made("http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"generator\.url=http://127\.0\.0\.1:9/v1 cannot be reached: .*refused"
    ):
        generator.load("cpu", 0)


# What each kind of misbehaviour is to the client: status, kind, words, how often it was asked.
MISBEHAVED = [
    (double.wrong_json, 502, "no_answer", "answers with what is none", 1),
    (double.wrong_event, 502, "no_answer", "answers with what is none", 1),
    (double.fails, 502, "status", "answers 500: CUDA out of memory", 3),
    (double.refuses, 400, "refused", "answers 400: maximum context length is 10 tokens", 1),
    (double.asks_to_wait("3600"), 429, "rate_limit", "asks to come back in 3600 s", 1),
    (double.closes_early, 502, "connection", "broke off", 3),
    (double.ends_early, 502, "connection", "broke off its answer after 3 characters", 3),
    (double.redirects, 502, "redirect", "answers 307: a redirect is not followed", 1),
    (double.floods, 502, "no_answer", "larger than", 1),
]


@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "words", "times"),
    MISBEHAVED,
    ids=[
        "wrong_json", "wrong_event", "500", "400", "429_for_an_hour", "early_close", "no_end", "redirect", "flood",
    ],
)  # fmt: skip
def test_misbehaviour_fails_its_own_request_in_words_and_is_counted(
    start: Started, behaviour: Behaviour, status: int, kind: str, words: str, times: int
) -> None:
    generator, there = start(behaviour)
    (answer,) = generator.generate(generator.prompts(ASKED))
    error = failure(answer)
    assert (error.status, error.kind) == (status, kind)
    assert words in str(error)
    assert str(error).startswith(f"generator.url={there.url}/v1 ")
    assert len(there.asked) == times
    assert generator.upstream.counts[f"failed.{kind}"] == 1
    assert generator.upstream.counts["retries"] == times - 1


@pytest.mark.parametrize("behaviour", [double.hangs, double.drips], ids=["hang", "slow_body"])
def test_what_does_not_end_is_given_up_when_its_time_is_over(start: Started, behaviour: Behaviour) -> None:
    for timeout_ms in (200, 2_000, 20_000):  # a machine that stands still can be late for it
        generator, there = start(behaviour, timeout_ms=float(timeout_ms))
        (answer,) = generator.generate(generator.prompts(ASKED))
        assert failure(answer).status == 504
        assert f"gives no whole answer within {timeout_ms} ms" in str(answer.failure)
        if there.asked:
            break
    assert len(there.asked) == 1
    eventually(lambda: there.running == 0)


def test_one_of_a_batch_fails_alone(start: Started) -> None:
    generator, _ = start(double.wrong_json, double.streams)
    answers = generator.generate(generator.prompts(ASKED * 4))
    assert sorted(answer.text for answer in answers) == ["", "Yes, indeed", "Yes, indeed", "Yes, indeed"]
    assert sum(answer.failure is not None for answer in answers) == 1


def test_tokens_are_not_known_where_the_server_does_not_count_them(start: Started) -> None:
    generator, _ = start(double.without_usage)
    (answer,) = generator.generate(generator.prompts(ASKED))
    assert (answer.text, answer.tokens, answer.prompt_tokens) == ("Yes", None, None)
    assert generator.upstream.counts["without_usage"] == 1


def test_a_moments_rest_that_it_asks_for_is_kept_by_all(start: Started) -> None:
    generator, _ = start(double.asks_to_wait("0.3"), double.streams)
    started = time.monotonic()
    answers = generator.generate(generator.prompts(ASKED))
    assert [answer.text for answer in answers] == ["Yes, indeed"]
    assert time.monotonic() - started >= 0.3
    assert generator.upstream.counts["retries"] == 1


def test_what_failed_once_is_asked_again(start: Started) -> None:
    generator, _ = start(double.fails, double.closes_early, double.streams)
    (answer,) = generator.generate(generator.prompts(ASKED))
    assert answer.text == "Yes, indeed"
    assert generator.upstream.counts["succeeded"] == 1


def test_without_retries_it_is_not(start: Started) -> None:
    generator, _ = start(double.fails, double.streams, retries=0)
    assert failure(generator.generate(generator.prompts(ASKED))[0]).status == 502


def test_what_nobody_waits_for_is_cancelled_there(start: Started) -> None:
    generator, there = start(double.hangs)
    wanted = [Wanted(unwanted=lambda: bool(there.asked))]
    (answer,) = generator.generate(generator.prompts(ASKED), wanted)
    assert failure(answer).kind == "cancelled"
    eventually(lambda: there.left == 1)
    assert generator.upstream.counts["cancelled"] == 1


def test_the_start_fails_in_one_line_where_the_server_answers_no_question(start: Started) -> None:
    generator, _ = start(double.fails)
    with pytest.raises(UserError, match="answers 500: CUDA out of memory"):
        generator.warm(1)


def test_a_dead_server_is_told_at_once_and_one_that_is_back_is_asked_again() -> None:
    with double.running(double.streams) as (there, background):
        generator = made(there.url, check_interval_s=0.05)
        generator.load("cpu", 0)
        prompts = generator.prompts(ASKED)
        background.submit(there.stop()).result(30)
        assert failure(generator.generate(prompts)[0]).status == 502
        eventually(lambda: generator.upstream.health.trouble is not None)
        error = failure(generator.generate(prompts)[0])
        assert (error.kind, error.retry_after_s is not None) == ("down", True)
        assert "cannot be reached: Connection refused, for 0 s" in str(error)
        background.submit(there.start()).result(30)
        eventually(lambda: generator.upstream.health.trouble is None)
        assert generator.generate(prompts)[0].text == "Yes, indeed"
        assert generator.upstream.counts["outages"] == 1
        generator.upstream.close()


def test_what_asks_in_steps_is_told_that_there_are_none() -> None:
    generator = made("http://127.0.0.1:9")
    for ask in (generator.pieces, lambda: generator.text([]), lambda: generator.stepper(None, None, 0.5, 9)):
        with pytest.raises(UserError, match="generator=openai has no"):
            ask()


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
