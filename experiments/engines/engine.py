"""One engine: the whole pipeline, loaded in a process of its own, that answers the corpus's questions when asked to."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = 40  # whose answers are compared; the first of the corpus
COMPARED_TOKENS = 32
LOAD_S, ANSWER_S, STOP_S = 600.0, 600.0, 20.0


class Engine:
    """`overrides`: as for run.py. `load_s`, `told`: how long it took to load, and what its record would say."""

    def __init__(self, overrides: list[str]) -> None:
        fresh = multiprocessing.get_context("spawn")
        self._ours, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_work, args=(overrides, theirs), daemon=True)
        self.load_s, self.told = 0.0, dict[str, Any]()

    def start(self) -> str | None:
        """Load it. Why it cannot be had, else None."""
        self._process.start()
        lacking, self.load_s, self.told = self._heard(LOAD_S)
        return str(lacking) if lacking is not None else None

    def seconds(self, start: int, count: int, batch: int, tokens: int | None = None) -> float:
        """How long it takes for `count` questions from `start` on, `batch` at the same time."""
        self._ours.send(("seconds", start, count, batch, tokens))
        found: float = self._heard(ANSWER_S)
        return found

    def answers(self) -> list[dict[str, Any]]:
        """Its answers to the compared questions, up to the model's own end, with the ids of their text."""
        self._ours.send(("answers",))
        found: list[dict[str, Any]] = self._heard(ANSWER_S)
        return found

    def stop(self) -> None:
        """End it, and what it started."""
        self._ours.send(("stop",))
        self._process.join(STOP_S)
        self._process.kill()

    def _heard(self, timeout_s: float) -> Any:
        if not self._ours.poll(timeout_s):
            raise TimeoutError(f"nothing heard of an engine in {timeout_s:g} s")
        return self._ours.recv()


def _work(overrides: list[str], theirs: Connection) -> None:
    """The engine's process."""
    from mlsys.errors import UserError

    started = time.perf_counter()
    try:
        pipeline = _pipeline(overrides)
    except UserError as error:
        theirs.send((str(error), 0.0, {}))
        return
    theirs.send((None, time.perf_counter() - started, pipeline.describe()))
    asked = {"seconds": _seconds, "answers": _answers}
    while (message := theirs.recv())[0] != "stop":
        theirs.send(asked[message[0]](pipeline, *message[1:]))
    for upstream in pipeline.upstreams:
        upstream.close()


def _pipeline(overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir

    from mlsys.quantities import limit_threads
    from mlsys.run import config

    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = config.resolved(compose("config", ["server=batch", "device=cpu", *overrides]))
    limit_threads(plain["server"]["threads"])
    from mlsys.rag import configured

    pipeline = configured.pipeline(plain)
    pipeline.load()
    pipeline.warm(2)
    return pipeline


def _seconds(pipeline: Any, start: int, count: int, batch: int, tokens: int | None) -> float:
    begun = time.perf_counter()
    for at in range(start, start + count, batch):
        pipeline.run(pipeline.items(batch, at, lambda _: tokens))
    return time.perf_counter() - begun


def _answers(pipeline: Any) -> list[dict[str, Any]]:
    from transformers import AutoTokenizer

    from mlsys.rag import models

    tokenizer = AutoTokenizer.from_pretrained(models.packaged("smollm2"))
    items = pipeline.items(QUESTIONS)
    for item in items:
        item.max_tokens, item.exact_tokens = COMPARED_TOKENS, False
    for at in range(0, QUESTIONS, 20):
        pipeline.run(items[at : at + 20])
    return [{"text": item.result, "ids": tokenizer(item.result)["input_ids"]} for item in items]
