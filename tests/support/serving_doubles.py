"""A pipeline whose stages do what a test says, and a server for it in the test's own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.item import Hit, Item
from mlsys.rag.item import Stage as PipelineStage
from mlsys.serving.http import server as server
from mlsys.serving.http.handler import Handler
from mlsys.serving.modes import Service
from mlsys.serving.options import Server

Hook = Callable[[list[Item]], None]


class Stage:
    def __init__(self, name: str, pipeline: FakePipeline) -> None:
        self.name, self._pipeline = name, pipeline

    def __call__(self, items: list[Item]) -> None:
        self._pipeline.calls.append((self.name, [item.query for item in items]))
        if (hook := self._pipeline.hooks.get(self.name)) is not None:
            hook(items)
        for item in items:
            if item.query.startswith(f"fail {self.name}"):
                raise ValueError(f"cannot {self.name} this")
        if self.name == "retrieve":
            for item in items:
                item.passages = [Hit(i, f"passage {i}", "fake", 1.0 - i / 10) for i in range(item.k)]
                item.prompt_passages = [hit.id for hit in item.passages]
        if self.name == "prompt":
            for item in items:
                item.prompt_tokens = len(item.query)
        if self.name == "generate":
            for item in items:
                item.result, item.tokens = f"answer to {item.query}", 3


class FakePipeline:
    """`hooks` by stage name run inside the stage, in the worker thread; `calls` is what ran on what."""

    def __init__(self, **hooks: Hook) -> None:
        self.hooks = hooks
        self.calls: list[tuple[str, list[str]]] = []
        self.stages: tuple[PipelineStage, ...] = tuple(
            Stage(name, self) for name in ("embed", "retrieve", "prompt", "generate")
        )

    generator: Any = None
    device = "cpu"

    def load(self) -> None:
        pass

    def warm(self, max_batch: int) -> None:
        pass

    def warm_front(self, max_batch: int) -> None:
        pass

    def describe(self) -> dict[str, float | int | str | bool | None]:
        return {"generator.name": "fake", "embedder.name": "vectors"}

    def embed(self, texts: Sequence[str], passages: bool) -> tuple[NDArray[np.float32], int]:
        if texts[0].startswith("fail"):
            raise ValueError("cannot embed this")
        rows = [[len(text), 0.5 if passages else -0.5, 1 / 3] for text in texts]
        return np.array(rows, np.float32), sum(map(len, texts))

    def batches(self, stage: str = "generate") -> list[list[str]]:
        return [queries for name, queries in self.calls if name == stage]


class Gate:
    """A hook that holds the worker until it is opened; `entered` counts the batches that came so far."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Semaphore(0)

    def __call__(self, items: list[Item]) -> None:
        self.entered.release()
        if not self.opened.wait(300):
            raise TimeoutError("the gate was never opened")

    async def reached(self) -> None:
        if not await asyncio.to_thread(self.entered.acquire, True, 300):
            raise TimeoutError("no batch came")


async def eventually(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(service: Service, options: Server) -> AsyncIterator[tuple[str, Handler]]:
    """The service behind real HTTP on a free port of 127.0.0.1, in this event loop."""
    handler = Handler(service, options)
    await service.start()
    http = server.Http(server.configured(handler))
    listener = server.bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    task = asyncio.create_task(http.serve([listener]))
    await eventually(lambda: http.started)
    try:
        yield f"http://127.0.0.1:{port}", handler
    finally:
        http.should_exit = True
        await task
        await service.close(drained=True)
