from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from serving_doubles import FakePipeline, served

from mlsys.serving.http import docs

from .test_app import batch


@pytest.fixture
async def page() -> AsyncIterator[tuple[str, str]]:
    async with (
        served(*batch(FakePipeline())) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/docs") as response,
    ):
        assert (response.status, response.content_type) == (200, "text/html")
        yield url, await response.text()


async def test_the_interface_is_shown_without_any_other_host(page: tuple[str, str]) -> None:
    url, text = page
    assert set(re.findall(r"https?://[^/\"' <]+", text)) == {url}
    assert "<script" not in text
    assert not re.search(r"<(link|img|iframe)[^>]+(href|src)=(?!\"data:)", text)


async def test_every_operation_its_fields_and_its_answers_are_there(page: tuple[str, str]) -> None:
    url, text = page
    for operation in ("POST /rag", "POST /rag/jobs", "GET /rag/jobs/{job_id}", "GET /ready", "GET /stats"):
        assert f"<code>{operation}</code>" in text
    assert "at most 50 characters. The question." in text
    assert "passages" in text
    assert "The queue is full; Retry-After says when to come back" in text
    assert f"curl {url}/rag -H" in text


def test_what_the_document_says_is_escaped() -> None:
    document = {"info": {"title": "<b>"}, "paths": {"/<i>": {"get": {"description": "<u>", "responses": {}}}}}
    text = docs.render(document, "http://x/")
    assert not {"<b>", "<i>", "<u>"} & set(re.findall(r"<\w+>", text))
