"""`generator=openai`: answers come from a server that speaks OpenAI's API, at an address.

vLLM, SGLang, llama-server, Ollama, TGI, LM Studio and gateways do. The prompts of a batch are sent as requests of their
own, at the same time: that server batches as it likes. A request that fails, fails alone.

aiohttp carries them, not the package `openai`, which follows redirects, reads bodies without a bound, and would be one
more dependency for one POST. What is sent is in `OpenAI.body`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Unpack

from mlsys.errors import UserError
from mlsys.rag.generator import Asked, Completion, Message, Prompt, Wanted
from mlsys.rag.generator.openai_answer import Answer
from mlsys.rag.generator.pieces import Pieces
from mlsys.rag.generator.stepping import Stepper
from mlsys.rag.upstream import Knobs, Upstream, UpstreamError
from mlsys.rag.upstream.openai import MODELS, Served, served
from mlsys.record import Scalar

LOOK_S = 0.1
CANCELLED = UpstreamError(504, "cancelled", "nobody waits for this answer any more")


class OpenAI:
    """`model` None: the one that the server has. `max_prompt_tokens` are words: the tokenizer is the server's."""

    ends: frozenset[int] = frozenset()

    def __init__(
        self,
        name: str,
        model: str | None,
        stream: bool,
        max_new_tokens: int,
        fixed_length: bool,
        max_prompt_tokens: int,
        **knobs: Unpack[Knobs],
    ) -> None:
        for knob, value in (("max_new_tokens", max_new_tokens), ("max_prompt_tokens", max_prompt_tokens)):
            if value < 1:
                raise UserError(f"generator.{knob}={value} must be at least 1")
        self.upstream = self._upstream(**knobs)
        self.name, self.model, self.stream = name, model, stream
        self.max_new_tokens, self.fixed_length = max_new_tokens, fixed_length
        self._max_prompt_tokens = max_prompt_tokens
        self._served: Served | None = None

    def _upstream(self, **knobs: Unpack[Knobs]) -> Upstream:
        return Upstream("generator", MODELS, "/v1", **knobs)

    def allow(self, max_tokens: int) -> None:
        """The server says how long answers may be."""

    def load(self, device: str, seed: int) -> None:
        """Wait for the server, find the model. Raises UserError where either is not there."""
        self.upstream.open()
        self._served = served(self.upstream, self.model)

    def warm(self, max_batch: int) -> None:
        """Ask once. Raises UserError where that is no answer."""
        (answer,) = self.generate(self.prompts([("Answer.", "Are you there?")]), [Wanted(max_tokens=1)])
        if answer.failure is not None:
            raise UserError(str(answer.failure)) from answer.failure

    @property
    def max_prompt_tokens(self) -> int:
        """How many words a prompt may have."""
        return self._max_prompt_tokens

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Conversations, which the server puts into its model's form, or texts to be continued."""
        return [_prompt(content) for content in contents]

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """Answers for all of them at the same time; one that fails is a `failure`."""
        wanted = wanted or [Wanted()] * len(prompts)
        return self.upstream.run(self._all(list(zip(prompts, wanted, strict=True))))

    async def _all(self, asked: list[tuple[Prompt, Wanted]]) -> list[Completion]:
        calls = [asyncio.ensure_future(self._one(*each)) for each in asked]
        try:
            while not all(call.done() for call in calls):
                await asyncio.wait(calls, timeout=LOOK_S)
                for call, (_, wanted) in zip(calls, asked, strict=True):
                    if not call.done() and wanted.unwanted():
                        call.cancel()
        finally:
            for call in calls:
                call.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
        return [_completion(one) for one in ended]

    async def _one(self, prompt: Prompt, wanted: Wanted) -> Completion:
        try:
            return await self.answer(prompt, wanted)
        except UpstreamError as error:
            return Completion("", None, failure=error)

    @property
    def waiting(self) -> int:
        """How many requests have none of `max_in_flight` places."""
        return self.upstream.waiting

    @property
    def in_flight(self) -> int:
        """How many have one."""
        return self.upstream.in_flight

    def begin(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Future[Completion]:
        """From any thread: one answer, which may raise UpstreamError. Cancelling the future ends the request."""
        return self.upstream.submit(self.answer(prompt, wanted, begins, tell))

    async def answer(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Completion:
        """One answer, in the upstream's thread. `begins` is called when it is sent, `tell` with each piece of text.

        Raises UpstreamError.
        """
        path, body = self.body(prompt, wanted)
        answer = Answer(tell, self.upstream.health.heard)

        def sent() -> None:
            answer.sent()
            if begins is not None:
                begins()

        await self.upstream.post(path, body, answer.read, sent, answer.begun)
        counts, usage = self.upstream.counts, answer.usage
        if answer.first_s is not None and self.stream:
            counts["first_texts"] += 1
            counts["first_texts_us"] += round(1e6 * answer.first_s)
        if usage.completion_tokens is None:
            counts["without_usage"] += 1
        return Completion(
            answer.text, usage.completion_tokens, finish=answer.finish, prompt_tokens=usage.prompt_tokens
        )

    def body(self, prompt: Prompt, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        """Where a prompt is sent, and as what. `ignore_eos` is vLLM's word, which SGLang and llama-server know too."""
        sampling = wanted.sampling
        body: dict[str, Any] = {
            "model": self.model if self._served is None else self._served.model,
            "max_tokens": wanted.max_tokens or self.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature:
            body |= {"top_p": sampling.top_p, "seed": sampling.seed}
        if wanted.stop:
            body["stop"] = list(wanted.stop)
        if self.fixed_length if wanted.exact is None else wanted.exact:
            body["ignore_eos"] = True
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if prompt.messages:
            return "/chat/completions", {**body, "messages": list(prompt.messages)}
        return "/completions", {**body, "prompt": prompt.text}

    def text(self, ids: Sequence[int]) -> str:
        """Raises UserError: tokens are the server's business."""
        raise UserError(f"generator={self.name} has no tokens here")

    def pieces(self) -> Pieces:
        """Raises UserError, as `text`."""
        raise UserError(f"generator={self.name} has no tokens here")

    def stepper(self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int) -> Stepper:
        """Raises UserError: that server runs the steps."""
        raise UserError(f"generator={self.name} has no steps here: its server runs them")

    def describe(self) -> dict[str, Scalar]:
        """The server and its model, as it calls them."""
        described: dict[str, Scalar] = {"url": self.upstream.base, "model": self.model}
        return described | (self._served.describe() if self._served is not None else {})


def _prompt(content: Asked) -> Prompt:
    if isinstance(content, str):
        return Prompt(content, len(content.split()))
    messages: list[Message] = list(content) if isinstance(content, list) else _messages(*content)
    text = "\n\n".join(message["content"] for message in messages)
    return Prompt(text, len(text.split()), messages=messages)


def _messages(instruction: str, question: str) -> list[Message]:
    return [{"role": "system", "content": instruction}, {"role": "user", "content": question}]


def _completion(ended: Completion | BaseException) -> Completion:
    if isinstance(ended, asyncio.CancelledError):
        return Completion("", None, failure=CANCELLED)
    if isinstance(ended, BaseException):
        raise ended
    return ended
