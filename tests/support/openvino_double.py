"""`openvino_genai` and `openvino` as far as `generator=openvino` uses them: an engine that writes what a test says."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

RUNNING, FINISHED, IGNORED = "running", "finished", "ignored"


class Handle:
    def __init__(self, script: list[int], config: Any) -> None:
        self._left, self._new, self._config = script[: config.max_new_tokens], list[int](), config
        self.status = RUNNING if script else IGNORED
        self.cancelled = False

    def can_read(self) -> bool:
        return bool(self._new)

    def read(self) -> dict[int, Any]:
        tokens, self._new = self._new, []
        return {0: SimpleNamespace(generated_ids=tokens)}

    def get_status(self) -> str:
        return self.status

    def cancel(self) -> None:
        self.cancelled = True

    def write(self) -> None:
        token = self._left.pop(0)
        self._new.append(token)
        ended = not self._config.ignore_eos and token in self._config.stop_token_ids
        if ended or not self._left:
            self.status = FINISHED


class Engine:
    """`script`: the tokens of every answer; none: the engine has no memory for a prompt. `gate`: closed, no step ends.

    `broken`: what the next step raises; `refuses`: what the next prompt does.
    """

    def __init__(self, script: list[int]) -> None:
        self.script, self.handles, self.steps = script, list[Handle](), list[int]()
        self.prompts: list[list[int]] = []
        self.configs: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.refuses: Exception | None = None
        self.made_with: Any = None

    def add_request(self, request_id: int, input_ids: Any, generation_config: Any) -> Handle:
        if (refused := self.refuses) is not None:
            self.refuses = None
            raise refused
        self.prompts.append(input_ids.tolist()[0])
        self.configs.append(generation_config)
        self.handles.append(Handle(list(self.script), generation_config))
        return self.handles[-1]

    def _writing(self) -> list[Handle]:
        return [one for one in self.handles if one.status == RUNNING and not one.cancelled]

    def has_non_finished_requests(self) -> bool:
        return bool(self._writing())

    def step(self) -> None:
        self.gate.wait(60)
        if (broken := self.broken) is not None:
            self.broken = None
            raise broken
        writing = self._writing()
        self.steps.append(len(writing))
        for one in writing:
            one.write()


def install(monkeypatch: pytest.MonkeyPatch, script: list[int]) -> Engine:
    """In the place of the packages, whether they are installed or not."""
    engine = Engine(script)

    def make(path: str, scheduler: Any, device: str, how: dict[str, Any]) -> Engine:
        engine.made_with = SimpleNamespace(path=path, scheduler=scheduler, device=device, how=how)
        return engine

    genai = SimpleNamespace(
        SchedulerConfig=SimpleNamespace,
        GenerationConfig=lambda: SimpleNamespace(do_sample=False),
        GenerationStatus=SimpleNamespace(RUNNING=RUNNING),
        ContinuousBatchingPipeline=make,
    )
    monkeypatch.setitem(sys.modules, "openvino_genai", genai)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Tensor=lambda rows: rows))
    monkeypatch.setattr("mlsys.rag.generator.openvino.metadata.version", lambda name: "2026.4.1")
    monkeypatch.setattr("mlsys.rag.generator.openvino.extras.absent", lambda module: None)
    return engine
