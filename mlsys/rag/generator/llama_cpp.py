"""`generator=llama_cpp`: llama.cpp's `llama-server` on a GGUF file, which we start, watch and stop.

It speaks OpenAI's API, so it is asked as `generator=openai` asks. But prompts go as token ids, made by the template of
`generator=smollm2`, and passages are shortened by the same count. It batches and schedules by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from mlsys.errors import UserError
from mlsys.rag.generator import Asked, Completion, Prompt, Wanted, gguf_file
from mlsys.rag.generator.chat import Chat
from mlsys.rag.generator.openai import OpenAI
from mlsys.rag.upstream import Knobs, Upstream
from mlsys.rag.upstream.errors import plain
from mlsys.rag.upstream.local import HOST, LocalServer
from mlsys.record import Scalar

SERVER = "llama-server"
HEALTH, COMPLETIONS, PROPERTIES = "/health", "/v1/completions", "/props"
ALL_LAYERS = 999
# What goes wrong on the way to a process of this machine does not go better the second time.
NEARBY: dict[str, Any] = {"api_key": None, "connect_timeout_ms": 2000.0, "retries": 0, "backoff_ms": 0.0}


class LlamaCpp(OpenAI):
    """`binary`: a path or a name on PATH; `arguments`: more of its own; `slots`: answers written at the same time."""

    def __init__(
        self,
        name: str,
        binary: str,
        model: str,
        slots: int,
        arguments: list[str],
        stream: bool,
        max_new_tokens: int,
        fixed_length: bool,
        max_prompt_tokens: int,
        timeout_ms: float,
        start_timeout_s: float,
        check_interval_s: float,
    ) -> None:
        if slots < 1:
            raise UserError(f"generator.slots={slots} must be at least 1")
        found = shutil.which(str(Path(binary).expanduser()))
        if found is None:
            raise UserError(f"generator.binary={binary} is no program here: name llama.cpp's {SERVER}")
        self._binary, self._weights, self._slots, self._arguments = found, model, slots, arguments
        self._longest_answer, self._on_gpu, self._threads = max_new_tokens, False, 1
        self._facts: dict[str, Scalar] = {}
        self.chat: Chat
        times = {
            "timeout_ms": timeout_ms,
            "start_timeout_s": start_timeout_s,
            "check_interval_s": check_interval_s,
        }
        knobs = {**NEARBY, **times, "url": f"http://{HOST}", "max_in_flight": slots}
        super().__init__(name, None, stream, max_new_tokens, fixed_length, max_prompt_tokens, **knobs)

    def _upstream(self, **knobs: Unpack[Knobs]) -> Upstream:
        return LocalServer("generator", HEALTH, SERVER, self._command, **knobs)

    def allow(self, max_tokens: int) -> None:
        """Answers of up to so many tokens may be wanted: slots have room for them."""
        self._longest_answer = max(self.max_new_tokens, max_tokens)

    def load(self, device: str, seed: int) -> None:
        """Find the weights, start the server on them. Raises UserError where it ends, with what it said last."""
        import torch

        path = gguf_file.find(self._weights)
        self._file, self.model = path, path.stem
        self._on_gpu, self._threads = device != "cpu", torch.get_num_threads()
        self.chat = gguf_file.chat(path)
        self.ends = self.chat.ends
        self._facts["weights"] = gguf_file.weights(path)
        super().load(device, seed)
        told = self.upstream.told(self.upstream.base + PROPERTIES)
        version = told.get("build_info") if isinstance(told, dict) else None
        self._facts["engine_version"] = plain(version) if isinstance(version, str) else "unknown"

    def _command(self, port: int) -> list[str]:
        options = {
            "-m": self._file,
            "--alias": self.model,
            "--host": HOST,
            "--port": port,
            "-t": self._threads,
            "-tb": self._threads,
            "-np": self._slots,
            "-c": self._slots * self._slot_tokens,
            "-ngl": ALL_LAYERS if self._on_gpu else 0,
        }
        return [self._binary, *(str(word) for option in options.items() for word in option), *self._arguments]

    @property
    def _slot_tokens(self) -> int:
        return self.max_prompt_tokens + self._longest_answer

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts in the model's own form, tokenised in one call."""
        return self.chat.prompts(contents)

    def body(self, prompt: Prompt, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        """Ids instead of text. Its own limits on what may be drawn are lifted, as nobody asked for them."""
        _, body = super().body(prompt, wanted)
        return COMPLETIONS, {**body, "prompt": prompt.ids, "top_k": 0, "min_p": 0.0}

    async def answer(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Completion:
        """As of any such server, without spaces around it, as our own decoder's."""
        answer = await super().answer(prompt, wanted, begins, tell)
        return replace(answer, text=answer.text.strip())

    def describe(self) -> dict[str, Scalar]:
        """Engine, version, what the weights are, and what it was given to run with."""
        return {
            "engine": "llama.cpp",
            "binary": self._binary,
            "model": self.model,
            **self._facts,
            "threads": self._threads,
            "slots": self._slots,
            "slot_tokens": self._slot_tokens,
            "layers": "gpu" if self._on_gpu else "cpu",
            "arguments": " ".join(self._arguments),
            "max_new_tokens": self.max_new_tokens,
            "fixed_length": self.fixed_length,
            "max_prompt_tokens": self.max_prompt_tokens,
        }
