"""A million rows are no garbage: no stall in which all of them are looked through."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sections import load
from service_double import Double, good, serving

from mlsys.loadtest.__main__ import asking
from mlsys.loadtest.collector import NEVER, no_full_collections
from mlsys.loadtest.generator import Generator
from mlsys.loadtest.questions import Question
from mlsys.loadtest.spec import Spec

CLOSED = {"_target_": "mlsys.loadtest.arrivals.closed.Closed", "name": "closed", "concurrency": [1]}


def collections() -> list[int]:
    return [generation["collections"] for generation in gc.get_stats()]


def test_the_old_are_left_alone_the_young_are_not() -> None:
    usual = gc.get_threshold()
    with no_full_collections():
        before = collections()
        kept = [[number] for number in range(300_000)]
        after = collections()
    assert len(kept) == 300_000
    assert after[0] > before[0]
    assert after[2] == before[2]
    assert gc.get_threshold() == usual


def test_what_was_usual_comes_back_after_an_error() -> None:
    usual = gc.get_threshold()
    with pytest.raises(KeyError), no_full_collections():
        raise KeyError
    assert gc.get_threshold() == usual


async def test_a_level_is_sent_without_full_collections(tmp_path: Path) -> None:
    seen: list[int] = []

    async def watched(question: dict[str, Any]) -> web.StreamResponse:
        seen.append(gc.get_threshold()[2])
        return await good(question)

    async with serving(Double(watched), {}) as url:
        spec = Spec(url, str(tmp_path), CLOSED, load(requests=3), seed=1, expected_tokens=32)
        spec.questions = [Question(0, "question", 0)]
        async with asking(spec) as client:
            await Generator(spec, client, lambda event, **content: None).run()
    assert set(seen) == {NEVER}
    assert gc.get_threshold()[2] != NEVER
