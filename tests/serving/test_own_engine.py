"""This project's own service as another one's engine, over real sockets: nothing is lost, added or counted twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from sections import composed
from serving_doubles import served

from mlsys import signatures
from mlsys.serving import parts

OWN = ("corpus=animals", "embedder=hashing", "device=cpu")
ENGINE = (*OWN, "server=continuous", "generator=random", "generator.shape=tiny", "generator.max_new_tokens=8")
QUESTIONS = [f"What does a cat eat on day {day}?" for day in range(6)]


@asynccontextmanager
async def service(*words: str) -> AsyncIterator[str]:
    """The address of what a command line starts, in this process."""
    config = composed(*words)
    options = signatures.make("server", config["server"])
    built = parts.of(config, Path())
    async with served(options.service(built), options) as (url, _):
        yield url


async def posted(url: str, body: dict[str, Any]) -> Any:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200, await response.text()
        return json.loads(await response.read())


def passing(url: str, mode: str, *words: str) -> tuple[str, ...]:
    asked = (f"generator.url={url}", "generator.model=random", "generator.max_new_tokens=8")
    return (*OWN, f"server={mode}", "generator=openai", *asked, *words)


@pytest.mark.parametrize(
    ("mode", "stream"), [("continuous", "true"), ("batch", "true"), ("continuous", "false")]
)
async def test_answers_through_another_service_are_the_engines_own(mode: str, stream: str) -> None:
    exact = {"exact_tokens": True, "max_tokens": 5}
    async with service(*ENGINE) as engine:
        own = [await posted(f"{engine}/rag", {"query": query, **exact}) for query in QUESTIONS]
        async with service(*passing(engine, mode, f"generator.stream={stream}")) as url:
            through = await asyncio.gather(
                *(posted(f"{url}/rag", {"query": query, **exact}) for query in QUESTIONS)
            )
            stats = json.loads(await _get(f"{url}/stats"))
    fields = ("result", "tokens", "prompt_tokens", "finish_reason", "passages")
    for mine, theirs in zip(own, through, strict=True):
        assert {name: mine[name] for name in fields} == {name: theirs[name] for name in fields}
    assert stats["upstream"]["generator.succeeded"] == stats["upstream"]["generator.requests"]
    assert stats["pipeline"]["generator.server"] == "mlsys"


async def test_what_a_client_of_openai_says_arrives_at_the_engine() -> None:
    said = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "temperature": 0.8, "top_p": 0.9, "seed": 3, "max_tokens": 6, "ignore_eos": True,
    }  # fmt: skip
    async with service(*ENGINE) as engine:
        own = await posted(f"{engine}/v1/chat/completions", {"model": "random", **said})
        async with service(*passing(engine, "continuous")) as url:
            through = await posted(f"{url}/v1/chat/completions", {"model": "openai", **said})
            continued = await posted(f"{url}/v1/completions", {"model": "openai", "prompt": "Once upon"})
    assert through["choices"] == own["choices"]
    assert through["usage"] == own["usage"]
    assert continued["usage"]["completion_tokens"] <= 8


async def test_vectors_of_another_service_are_those_of_its_embedder() -> None:
    async with service(*ENGINE) as engine:
        config = composed("embedder=openai", "corpus=animals", embedder={"url": engine, "model": "hashing"})
        remote = signatures.make("embedder", config["embedder"])
        hashing = signatures.make("embedder", composed("embedder=hashing")["embedder"])
        await asyncio.to_thread(remote.load, "cpu")
        found = await asyncio.to_thread(remote.queries, QUESTIONS * 10)
        await asyncio.to_thread(remote.upstream.close)
    np.testing.assert_allclose(found, hashing.queries(QUESTIONS * 10), atol=1e-6)


async def _get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()
