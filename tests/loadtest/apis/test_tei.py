from __future__ import annotations

import time
from typing import Any

import pytest
from stranger_double import Stranger, answering, says

from mlsys.loadtest import apis
from mlsys.loadtest.client import Client
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, Row


@pytest.mark.parametrize(
    ("body", "outcome"), [([[0.1, 2]], OK), ([], FAILED), ([[]], FAILED), ([[None]], FAILED), ({}, FAILED)]
)
async def test_a_text_is_embedded(body: Any, outcome: str) -> None:
    stranger, row, started = Stranger({"/embed": says(body)}), Row(0, 0), time.perf_counter()
    api = apis.make({"api": "tei", "parameters": {"truncate": True}})
    async with answering(stranger) as url, Client(url, {}, 2, 10.0, None, None, api) as client:
        await client.ask(row, Question(0, "Why?", None), lambda: time.perf_counter() - started)
    assert stranger.asked == [("POST", "/embed", {"inputs": "Why?", "truncate": True})]
    assert row.outcome == outcome
