"""`generator=simulated`: a cost model that really sleeps, for tests, queueing theory and planning.

A batch of B prompts costs `base_ms + per_request_ms * B + per_token_ms * T`, T being the new tokens of one
answer: the shape that batched decoding has (each step reads the weights once, whatever the batch).

That is the cost of generating alone. The other stages run before it and the service works between batches, as they do
around a language model, so a batch's whole cycle is some milliseconds longer. It is not shortened to hide them: what a
service adds is what is measured here. Records hold the cycle (`cycle_ms.mean`), which is the service time that
queueing theory should be given.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from mlsys.errors import UserError
from mlsys.rag.generator import Answer, Asked, Prompt
from mlsys.record import Scalar

WORDS = (
    "the",
    "answer",
    "lies",
    "in",
    "passage",
    "one",
    "two",
    "and",
    "says",
    "that",
    "it",
    "is",
    "so",
    "because",
)


class Simulated:
    """Answers are words drawn by the prompt's hash: the same prompt gets the same answer in any batch."""

    def __init__(
        self,
        name: str,
        base_ms: float,
        per_request_ms: float,
        per_token_ms: float,
        max_new_tokens: int,
        max_prompt_tokens: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        costs = {"base_ms": base_ms, "per_request_ms": per_request_ms, "per_token_ms": per_token_ms}
        for knob, value in costs.items():
            if not 0 <= value < float("inf"):
                raise UserError(f"generator.{knob}={value} must be 0 or more")
        if max_new_tokens < 1:
            raise UserError(f"generator.max_new_tokens={max_new_tokens} must be at least 1")
        if max_prompt_tokens < 1:
            raise UserError(f"generator.max_prompt_tokens={max_prompt_tokens} must be at least 1")
        self.name, self.max_new_tokens, self._max_prompt_tokens = name, max_new_tokens, max_prompt_tokens
        self._costs, self._sleep = costs, sleep

    def load(self, device: str, seed: int) -> None:
        """Nothing to load."""

    def warm(self, max_batch: int) -> None:
        """Nothing to warm."""

    def cost_ms(self, batch: int) -> float:
        """What a batch of this size takes."""
        costs = self._costs
        return (
            costs["base_ms"] + costs["per_request_ms"] * batch + costs["per_token_ms"] * self.max_new_tokens
        )

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Plain text; a token is a word."""
        texts = [_written(content) for content in contents]
        return [Prompt(text, len(text.split())) for text in texts]

    @property
    def max_prompt_tokens(self) -> int:
        """How many words a prompt may have."""
        return self._max_prompt_tokens

    def generate(self, prompts: list[Prompt]) -> list[Answer]:
        """Sleep the cost of the batch, then answer."""
        self._sleep(self.cost_ms(len(prompts)) / 1000)
        return [self._answer(prompt.text) for prompt in prompts]

    def _answer(self, text: str) -> Answer:
        code = hashlib.sha256(text.encode()).digest()
        ids = [(code[i % len(code)] + i) % len(WORDS) for i in range(self.max_new_tokens)]
        return Answer(" ".join(WORDS[i] for i in ids), len(ids), ids)

    def describe(self) -> dict[str, Scalar]:
        """The cost model, and that it is one."""
        return {"model": "simulated", "note": "simulated: a cost model, no language model", **self._costs}


def _written(content: Asked) -> str:
    if isinstance(content, tuple):
        return "\n\n".join(content)
    if isinstance(content, str):
        return content
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in content)
