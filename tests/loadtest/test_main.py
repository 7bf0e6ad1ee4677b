from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web
from generating import generate
from sections import load, section
from service_double import Double, good, serving

from mlsys.loadtest.__main__ import typed
from mlsys.loadtest.options import split
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FILE_NAME
from mlsys.loadtest.spec import Spec

pytestmark = pytest.mark.slow

CLOSED = {"_target_": "mlsys.loadtest.arrivals.closed.Closed", "name": "closed", "concurrency": [1, 3]}


async def test_a_specification_in_levels_and_rows_out(tmp_path: Path) -> None:
    double = Double(good)
    stats = {"closed": {"full": 1}}
    async with serving(double, stats) as url:
        spec = Spec(url, str(tmp_path), CLOSED, load(requests=10, repeats=2), seed=1, expected_tokens=32)
        spec.questions = [Question(i, f"question {i}", i) for i in range(4)]
        events = await generate(spec, key="secret")
    levels = [event for event in events if event["event"] == "level"]
    assert [level["values"]["concurrency"] for level in levels] == [1, 3]
    assert [level["values"]["requests"] for level in levels] == [20, 20]
    assert all(level["values"]["success_rate"] == 1 for level in levels)
    assert all(level["values"]["closed_by.full"] == 0 for level in levels)
    assert all(len(level["samples"]["throughput_rps"]) == 2 for level in levels)
    assert [event["repeat"] for event in events if event["event"] == "begin"] == [0, 1, 0, 1]
    assert events[-1]["event"] == "end"
    assert events[-1]["values"]["answers.questions"] == 4
    assert set(double.keys) == {"Bearer secret"}
    answered = sum(event["count"] for event in events if event["event"] == "answered")
    table = pd.read_parquet(tmp_path / FILE_NAME)
    assert len(table) == answered == len(double.asked)
    measured = table[table["phase"] == "measured"]
    assert measured.groupby(["level", "repeat"]).size().tolist() == [10, 10, 10, 10]
    hits = [level["values"]["retrieval_hit_rate"] for level in levels]
    assert hits == pytest.approx(measured.groupby("level")["hit"].mean().tolist())
    assert all(0.1 < rate < 0.4 for rate in hits)
    assert (table["done_s"] >= table["first_byte_s"]).all()
    assert (tmp_path / "loadtest.json").read_text().count("secret") == 0


async def test_lengths_and_popular_questions_are_drawn_alike_whatever_the_service(tmp_path: Path) -> None:
    async def obedient(question: dict[str, Any]) -> web.StreamResponse:
        told = {"query": question["query"], "result": "x", "tokens": question["max_tokens"]}
        return web.json_response(told)

    asked = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        double = Double(obedient)
        async with serving(double) as url:
            told = load(requests=40, output_tokens=[8, 128], zipf_s=1.0)
            spec = Spec(
                url, str(tmp_path / name), CLOSED | {"concurrency": 1}, told, seed=1, expected_tokens=32
            )
            spec.questions = [Question(i, f"question {i}", None) for i in range(100)]
            (level,) = [event["values"] for event in await generate(spec) if event["event"] == "level"]
        assert level["succeeded"] == 40
        asked.append(double.asked)
    assert asked[0] == asked[1]
    assert len({question["max_tokens"] for question in asked[0]}) > 20
    assert level["output_tokens.mean"] == pytest.approx(68, rel=0.3)
    table = pd.read_parquet(tmp_path / "one" / FILE_NAME)
    assert table["max_tokens"].tolist() == table["tokens"].tolist()


async def test_a_level_for_which_descriptors_ran_out_is_not_valid_and_not_lost(tmp_path: Path) -> None:
    async def slow(question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await good(question)

    async with serving(Double(slow)) as url:
        told = load(requests=40, warmup_requests=0)
        spec = Spec(url, str(tmp_path), CLOSED | {"concurrency": 40}, told, seed=1)
        spec.questions = [Question(0, "Why?", None)]
        events = await generate(spec, descriptors=80)
    (level,) = [event["values"] for event in events if event["event"] == "level"]
    assert level["succeeded"] >= 16
    assert level["failed"] > 0
    assert level["valid"] is False
    assert "lack of sockets on the client's side" in level["invalid_reason"]
    assert (tmp_path / FILE_NAME).exists()


async def searched(directory: Path, answer_s: float, **knobs: Any) -> list[dict[str, Any]]:
    async def slow(question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(answer_s)
        return await good(question)

    double = Double(slow)
    async with serving(double) as url:
        _, arrivals = split(section("loadtest/slo_search", **knobs))
        spec = Spec(url, str(directory), arrivals, load(requests=20, slo_ms=50.0), seed=1)
        spec.questions = [Question(0, "Why?", None)]
        return await generate(spec)


async def test_a_search_ends_before_it_begins_where_a_lone_request_misses(tmp_path: Path) -> None:
    events = await searched(tmp_path, 0.1, request_rate=1.0)
    found = events[-1]["values"]
    assert [event for event in events if event["event"] == "level"] == []
    assert found["slo.lone_ms"] >= 100
    assert found["slo.max_rate_rps"] is None
    assert found["slo.ended"] == f"a lone request takes {found['slo.lone_ms']:.4g} ms"


async def test_a_search_begins_no_level_that_would_not_end_in_time(tmp_path: Path) -> None:
    events = await searched(tmp_path, 0.0, request_rate=0.1, max_total_s=60.0)
    assert [event for event in events if event["event"] == "level"] == []
    assert events[-1]["values"]["slo.ended"] == "loadtest.max_total_s=60"


def test_a_specification_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = Spec("http://x", str(tmp_path), CLOSED, {}, 3, None, False, [Question(0, "é", None)])
    assert Spec.read(spec.write()) == spec


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("{", "is no loadtest.json of a run"),
        ("[]", "is no loadtest.json of a run"),
        ('{"questions": [], "shoe": 1}', "is no loadtest.json of a run"),
    ],
)
def test_what_is_no_specification_is_one_line(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.json"
    if content is not None:
        path.write_text(content)
    assert typed([str(path)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert str(path) in line
    assert line.count("\n") == 1
    assert typed([]) == 2
