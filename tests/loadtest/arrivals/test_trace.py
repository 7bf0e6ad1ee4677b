from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import traces
from hypothesis import given
from hypothesis import strategies as st
from schedule_of import due
from sections import arrivals, configuration, simulated

from mlsys.errors import UserError
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.trace_file import Traced
from mlsys.loadtest.trace_text import WORDS, Texts

QUESTIONS = Order([Question(i, f"question {i}", i) for i in range(3)], 0)
ROWS = [(0.0, 20, 5), (0.5, 7, 0), (7.0, 3000, 900)]


def trace(path: Path, **knobs: Any) -> Any:
    return arrivals("trace", path=str(path), **knobs)


def test_requests_come_as_they_came_or_faster(tmp_path: Path) -> None:
    made = trace(traces.burstgpt(tmp_path / "b.csv", ROWS), speed=[1, 10])
    assert made.levels == [1, 10]
    assert due(made.process(1, 0), 4)[:3] == [0, 0.5, 7]
    assert due(made.process(10, 0), 4)[:3] == [0, 0.05, 0.7]
    assert made.describe(10) == {"speed": 10, "offered_rate_rps": pytest.approx(20 / 7)}
    assert (made.default_requests, made.warmup(1, 3)) == (3, 0)


def test_a_trace_in_one_instant_has_no_rate(tmp_path: Path) -> None:
    assert trace(traces.burstgpt(tmp_path / "b.csv", [(5.0, 1, 1)] * 3)).describe(1) == {"speed": 1}


def test_prompts_and_answers_are_as_long_as_the_trace_says(tmp_path: Path) -> None:
    made = trace(traces.burstgpt(tmp_path / "b.csv", ROWS), max_input_tokens=100, max_output_tokens=64)
    asked = [made.script.questions(QUESTIONS, 1)[number] for number in range(3)]
    assert [len(question.text.split()) for question in asked] == [20, 7, 100]
    assert [question.max_tokens for question in asked] == [5, 1, 64]
    assert [question.id for question in asked] == [0, 1, 2]
    assert made.script.longest_answer == 64
    assert made.script.longest_query(1) == len(asked[2].text)
    found = made.conclusion([])
    assert (found["trace.input_tokens.cut"], found["trace.output_tokens.cut"]) == (1, 1)
    assert found["trace.input_tokens.max"] == 3000
    assert len(str(found["trace.sha256"])) == 64


def test_the_loads_own_questions_may_come_at_a_traces_times(tmp_path: Path) -> None:
    made = trace(traces.burstgpt(tmp_path / "b.csv", ROWS), prompts="questions")
    asked = made.script.questions(QUESTIONS, 1)
    assert [asked[i].text for i in range(3)] == [QUESTIONS[i].text for i in range(3)]
    assert [asked[i].max_tokens for i in range(3)] == [5, 1, 900]
    assert asked[0].passage_id == QUESTIONS[0].passage_id
    assert made.script.longest_query(1) == 0


TRACED = st.builds(
    Traced, st.just(0.0), st.integers(0, 60), st.none(), st.lists(st.integers(0, 5), max_size=8).map(tuple)
)


@given(TRACED, TRACED, st.integers(1, 16), st.integers(0, 9))
def test_prompts_begin_alike_for_just_the_blocks_that_are_alike(
    one: Traced, other: Traced, block: int, seed: int
) -> None:
    texts = Texts(block, seed)
    words = [texts(number, request, None).split() for number, request in enumerate((one, other))]
    for request, found in zip((one, other), words, strict=True):
        assert len(found) == max(1, request.input_tokens or 1)
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one.blocks, other.blocks, strict=False))))
    shared = min(alike * block, *map(len, words))
    assert words[0][:shared] == words[1][:shared]
    assert texts(0, one, None) == Texts(block, seed)(0, one, None)
    assert texts(0, one, 3).split() == words[0][:3]


def test_different_blocks_differ_and_so_do_seeds() -> None:
    request, other = (Traced(0.0, 64, None, (block,)) for block in (1, 2))
    assert Texts(64, 0)(0, request, None) != Texts(64, 0)(0, other, None)
    assert Texts(64, 0)(0, request, None) != Texts(64, 1)(0, request, None)
    assert Texts(64, 0)(0, request, None) == Texts(64, 0)(7, request, None)


def test_a_word_is_a_token() -> None:
    cache = Path(os.environ.get("MLSYS_CACHE", Path.home() / ".cache" / "mlsys")) / "models"
    files = [*cache.glob("smollm2-*/tokenizer.json"), *cache.glob("minilm-*/tokenizer.json")]
    if not files:
        pytest.skip("no model has been fetched")
    from tokenizers import Tokenizer

    assert len(WORDS) == len(set(WORDS)) > 150
    for file in files:
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        assert len(tokenizer.encode(" ".join(WORDS), add_special_tokens=False).ids) == len(WORDS)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"path": None}, "loadtest.path=null: loadtest=trace needs a file"),
        ({"speed": 0}, "loadtest.speed=0 must be more than 0"),
        ({"prompts": "none"}, "loadtest.prompts=none is none of: made questions"),
        ({"max_input_tokens": 0}, "loadtest.max_input_tokens=0 must be a whole number of at least 1"),
        ({"columns": {"time": "Timestamp", "input": "x"}}, "loadtest.columns.input=x: "),
    ],
)
def test_bad_knobs_are_named(tmp_path: Path, knobs: dict[str, Any], message: str) -> None:
    path = traces.burstgpt(tmp_path / "b.csv", ROWS)
    with pytest.raises(UserError) as caught:
        arrivals("trace", **{"path": str(path), **knobs})
    assert str(caught.value).startswith(message)


def test_a_trace_without_lengths_of_prompts_asks_the_loads_questions(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("time\n1\n2\n")
    with pytest.raises(UserError, match="tells no lengths of prompts"):
        trace(tmp_path / "t.csv")
    asked = trace(tmp_path / "t.csv", prompts="questions").script.questions(QUESTIONS, 0)
    assert asked[1] == QUESTIONS[1]


@pytest.mark.parametrize(
    ("server", "knobs", "message"),
    [
        ({}, {}, "the longest prompt of the trace has"),
        ({"max_query_chars": 50_000}, {"turns": 2}, "loadtest.turns=2: the requests of a trace stand alone"),
        (
            {"max_query_chars": 50_000},
            {"zipf_s": 1.0},
            "loadtest.zipf_s=1.0 is about questions, and loadtest.prompts=made asks none",
        ),
        (
            {"max_query_chars": 50_000},
            {"engine_ceiling": True},
            "loadtest.engine_ceiling=true: the engine alone",
        ),
        (
            {"max_query_chars": 50_000, "max_tokens": 32},
            {},
            "loadtest.path asks for up to 900 tokens, more than server.max_tokens=32",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(
    tmp_path: Path, server: dict[str, Any], knobs: dict[str, Any], message: str
) -> None:
    path = traces.burstgpt(tmp_path / "b.csv", ROWS)
    config = simulated("batch", "trace", loadtest={"path": str(path), **knobs}, server=server)
    with pytest.raises(UserError) as caught:
        ServingBenchmark(config, tmp_path)
    assert str(caught.value).startswith(message.format(path=path))


def test_the_longest_answer_of_the_trace_is_allowed(tmp_path: Path) -> None:
    path = traces.burstgpt(tmp_path / "b.csv", ROWS)
    config = simulated("batch", "trace", loadtest={"path": str(path), "max_input_tokens": 50})
    assert ServingBenchmark(config, tmp_path).config["server"]["max_tokens"] == 900
    assert configuration("loadtest=trace").loadtest.engine_ceiling is False
