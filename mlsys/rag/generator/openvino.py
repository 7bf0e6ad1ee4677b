"""`generator=openvino`: the continuous batching of openvino-genai on a CPU, on a GGUF file's own weights.

Prompts are made and answers spelled as `generator=smollm2` does, by the same tokenizer. The engine batches and
schedules by itself: a batch's prompts are given to it together, and under `server=continuous` each one as it comes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from importlib import metadata
from typing import Any

from mlsys import extras
from mlsys.errors import UserError
from mlsys.rag import models
from mlsys.rag.generator import Asked, Completion, Prompt, Wanted, gguf_file
from mlsys.rag.generator.chat import Chat
from mlsys.rag.generator.lengths import cut
from mlsys.rag.generator.pieces import Pieces
from mlsys.rag.generator.stepped import Job, Stepped
from mlsys.rag.generator.stepped_answer import Answer
from mlsys.rag.generator.stepping import Stepper
from mlsys.record import Scalar

PACKAGE = "openvino_genai"
DTYPES = {"float32": "f32", "bfloat16": "bf16"}
KV_DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "u8"}
WEIGHTS = ("float16", "file")
LOOK_S = 0.1
Begun = tuple[Prompt, Wanted, Callable[[], None] | None, Callable[[str], None] | None]


class OpenVINO:
    """`dtype`: what it computes in; `kv_dtype`: of keys and values; `kv_memory_gib`: for all of those together.

    `weights`: `float16` of those in the file, or the `file` itself, from whose 4-bit weights the engine writes other
    answers than all who read them exactly.
    `slots`: answers written at the same time; `step_tokens`: tokens read and written in one step at most.
    """

    stream = True

    def __init__(
        self,
        name: str,
        model: str,
        weights: str,
        dtype: str,
        kv_dtype: str,
        kv_memory_gib: int,
        slots: int,
        step_tokens: int,
        max_new_tokens: int,
        fixed_length: bool,
        max_prompt_tokens: int,
    ) -> None:
        if (line := extras.absent(PACKAGE)) is not None:
            raise UserError(f"generator=openvino: {line}")
        for knob, value, known in (
            ("weights", weights, WEIGHTS),
            ("dtype", dtype, DTYPES),
            ("kv_dtype", kv_dtype, KV_DTYPES),
        ):
            if value not in known:
                raise UserError(f"generator.{knob}={value} is none of {', '.join(known)}")
        for knob, count in (
            ("kv_memory_gib", kv_memory_gib),
            ("slots", slots),
            ("step_tokens", step_tokens),
            ("max_new_tokens", max_new_tokens),
            ("max_prompt_tokens", max_prompt_tokens),
        ):
            if count < 1:
                raise UserError(f"generator.{knob}={count} must be at least 1")
        self.name, self.model, self.dtype, self.kv_dtype = name, model, dtype, kv_dtype
        self.kv_memory_gib, self.slots, self.step_tokens = kv_memory_gib, slots, step_tokens
        self.max_new_tokens, self.fixed_length = max_new_tokens, fixed_length
        self.max_prompt_tokens = max_prompt_tokens
        self.weights, self._held, self._threads = weights, "", 1
        self.chosen = ""  # what says why, where it was not asked for by its name
        self.chat: Chat
        self._engine = Stepped()

    def allow(self, max_tokens: int) -> None:
        """Answers have any length that their memory holds."""

    def load(self, device: str, seed: int) -> None:
        """Read the file, compile the network. Raises UserError where either fails."""
        import torch

        if device != "cpu":
            raise UserError("generator=openvino is for device=cpu")
        path = gguf_file.find(self.model)
        self.chat, self._held = gguf_file.chat(path), gguf_file.weights(path)
        if self.weights == "float16":
            path, self._held = gguf_file.as_float16(path), f"float16 of {self._held}"
        self._threads = torch.get_num_threads()
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_batched_tokens, scheduler.max_num_seqs = self.step_tokens, self.slots
        scheduler.cache_size = self.kv_memory_gib
        scheduler.enable_prefix_caching = True  # as our own decoder reads what prompts share once
        how = {
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,  # two replicas would sit on the same cores
            "INFERENCE_PRECISION_HINT": DTYPES[self.dtype],
            "KV_CACHE_PRECISION": KV_DTYPES[self.kv_dtype],
        }
        try:
            engine = openvino_genai.ContinuousBatchingPipeline(str(path), scheduler, "CPU", how)
        except Exception as error:  # of a file or a knob that it does not take, it raises what it likes
            raise UserError(
                f"generator.model={self.model} cannot be loaded: {models.first_line(error)}"
            ) from error
        self._engine.drive(engine, openvino_genai.GenerationStatus.RUNNING)
        weakref.finalize(self, self._engine.stop)

    def warm(self, max_batch: int) -> None:
        """Answer once."""
        self.generate(self.prompts([("Answer.", "Are you there?")]), [Wanted(max_tokens=2)])

    @property
    def ends(self) -> frozenset[int]:
        """Ids of the model's end tokens."""
        return self.chat.ends

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts in the model's own form, tokenised in one call."""
        return self.chat.prompts(contents)

    @property
    def waiting(self) -> int:
        """How many answers the engine has not been given."""
        return self._engine.waiting

    @property
    def in_flight(self) -> int:
        """How many it has."""
        return self._engine.in_flight

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """Answers for all of them, together. Those that nobody waits for any more are given up."""
        wanted = wanted or [Wanted()] * len(prompts)
        begun = self._begin([(*each, None, None) for each in zip(prompts, wanted, strict=True)])
        while wait(begun, timeout=LOOK_S).not_done:
            for future, one in zip(begun, wanted, strict=True):
                if one.unwanted():
                    future.cancel()
        return [_completion(future) for future in begun]

    def begin(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Future[Completion]:
        """From any thread: one answer. Cancelling the future ends it; the callbacks come in the engine's thread."""
        return self._begin([(prompt, wanted, begins, tell)])[0]

    def _begin(self, asked: Sequence[Begun]) -> list[Future[Completion]]:
        """Together, so that the engine's next step has all of them."""
        jobs, begun = list[Job](), list[Future[Completion]]()
        for prompt, wanted, begins, tell in asked:
            answer = Answer(self, prompt, wanted, tell)
            jobs.append(Job(self._ids(prompt), self._config(wanted), begins or _nothing, answer.wrote))
            begun.append(answer.of(jobs[-1].future))
        self._engine.begin(jobs)
        return begun

    def _ids(self, prompt: Prompt) -> Any:
        import numpy as np
        import openvino

        return openvino.Tensor(np.array([prompt.ids], dtype=np.int64))

    def _config(self, wanted: Wanted) -> Any:
        import openvino_genai

        config, sampling = openvino_genai.GenerationConfig(), wanted.sampling
        config.max_new_tokens = wanted.max_tokens or self.max_new_tokens
        config.ignore_eos = self.fixed_length if wanted.exact is None else wanted.exact
        config.stop_token_ids = set(self.ends)
        config.eos_token_id = min(self.ends)
        if sampling.temperature > 0:
            config.do_sample, config.temperature = True, sampling.temperature
            config.top_p, config.rng_seed = sampling.top_p, sampling.seed
        return config

    def text(self, ids: Sequence[int]) -> str:
        """What one answer's tokens spell, up to its end token."""
        return self.chat.texts([cut(list(ids), self.ends)])[0]

    def pieces(self) -> Pieces:
        """One answer's text, token by token."""
        return self.chat.pieces()

    def stepper(self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int) -> Stepper:
        """Raises UserError: the engine runs the steps."""
        raise UserError(f"generator={self.name} has no steps here: it schedules by itself")

    def describe(self) -> dict[str, Scalar]:
        """Engine, version, what the weights are, and what it was given to run with."""
        return {
            "engine": "openvino-genai",
            "engine_version": metadata.version("openvino-genai"),
            "model": self.model,
            "weights": self._held,
            "dtype": self.dtype,
            "kv_dtype": self.kv_dtype,
            "kv_memory_gib": self.kv_memory_gib,
            "threads": self._threads,
            "slots": self.slots,
            "step_tokens": self.step_tokens,
            "max_new_tokens": self.max_new_tokens,
            "fixed_length": self.fixed_length,
            "max_prompt_tokens": self.max_prompt_tokens,
            **({"chosen": self.chosen} if self.chosen else {}),
        }


def _nothing() -> None:
    """Nobody asked to be told."""


def _completion(future: Future[Completion]) -> Completion:
    try:
        return future.result()
    except CancelledError as error:
        return Completion("", None, failure=error)
    except Exception as error:  # it fails alone
        return Completion("", None, failure=error)
