"""`generator=simulated`: a cost model that really sleeps, for tests, queueing theory and planning.

A batch of B prompts costs `base_ms + per_request_ms * B + per_token_ms * T`, T being the new tokens of its longest
answer: the shape that batched decoding has (each step reads the weights once, whatever the batch). To that come, where
they are given, `per_prompt_token_ms` for each token that is read, `per_sequence_ms` for each that is written, and
`per_context_token_ms` for each that a sequence holds while it writes one: reading of keys and values.

That is the cost of generating alone. The other stages run before it and the service works between batches, as they
do around a language model, so a batch's whole cycle is some milliseconds longer. It is not shortened to hide them:
what a service adds is what is measured here. Records hold the cycle (`cycle_ms.mean`), which is the service time
that queueing theory should be given.

With `distribution: exponential` that cost is the mean of what batches take, and each draws its own, as if answers
were of very different lengths: what theory knows of several workers and of balancers it mostly knows of such
services.
"""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from collections.abc import Callable, Sequence

from mlsys.errors import UserError
from mlsys.rag.generator import Asked, Completion, Prompt, Wanted
from mlsys.rag.generator.kv_memory import divide
from mlsys.rag.generator.pieces import Pieces, Words
from mlsys.rag.generator.simulated_stepper import Costs, SimulatedStepper
from mlsys.rag.generator.simulated_text import WORDS, next_token, spell
from mlsys.record import Scalar

TOKEN_BYTES = 46_080  # keys and values of a token as in SmolLM2-135M, float32
FREE_BYTES = 8 * 2**30
DISTRIBUTIONS = ("fixed", "exponential")


class Simulated:
    """Each token is decided by those before it: the same prompt gets the same answer in any batch."""

    ends: frozenset[int] = frozenset()
    stepping: type[SimulatedStepper] = SimulatedStepper
    fixed_length = True

    def __init__(
        self,
        name: str,
        base_ms: float,
        per_request_ms: float,
        per_token_ms: float,
        max_new_tokens: int,
        max_prompt_tokens: int,
        distribution: str,
        per_prompt_token_ms: float = 0.0,
        per_sequence_ms: float = 0.0,
        per_context_token_ms: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        costs = {
            "base_ms": base_ms,
            "per_request_ms": per_request_ms,
            "per_token_ms": per_token_ms,
            "per_prompt_token_ms": per_prompt_token_ms,
            "per_sequence_ms": per_sequence_ms,
            "per_context_token_ms": per_context_token_ms,
        }
        for knob, value in costs.items():
            if not 0 <= value < float("inf"):
                raise UserError(f"generator.{knob}={value} must be 0 or more")
        if max_new_tokens < 1:
            raise UserError(f"generator.max_new_tokens={max_new_tokens} must be at least 1")
        if max_prompt_tokens < 1:
            raise UserError(f"generator.max_prompt_tokens={max_prompt_tokens} must be at least 1")
        if distribution not in DISTRIBUTIONS:
            raise UserError(f"generator.distribution={distribution} must be {' or '.join(DISTRIBUTIONS)}")
        self._exponential, self._batches, self._seed = distribution == "exponential", 0, 0
        self.name, self.max_new_tokens, self._max_prompt_tokens = name, max_new_tokens, max_prompt_tokens
        self._costs, self._sleep, self._clock = Costs(**costs), sleep, clock

    def allow(self, max_tokens: int) -> None:
        """Answers have any length here."""

    def load(self, device: str, seed: int) -> None:
        """Nothing to load; `seed` decides the draws."""
        self._seed = seed

    def warm(self, max_batch: int) -> None:
        """Nothing to warm."""

    def cost_ms(self, batch: int, tokens: int | None = None) -> float:
        """What a batch of this size takes whose answers have so many tokens (None: `max_new_tokens`), prompts none."""
        tokens = self.max_new_tokens if tokens is None else tokens
        return self._costs.batch_ms([0] * batch, [tokens] * batch)

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Plain text; a token is a word, and its id the word's checksum."""
        texts = [_written(content) for content in contents]
        coded = [[zlib.crc32(word.encode()) for word in text.split()] for text in texts]
        return [Prompt(text, len(ids), ids) for text, ids in zip(texts, coded, strict=True)]

    @property
    def max_prompt_tokens(self) -> int:
        """How many words a prompt may have."""
        return self._max_prompt_tokens

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """Sleep the cost of the batch, then answer."""
        wanted = wanted or [Wanted()] * len(prompts)
        limits = [self.max_new_tokens if one.max_tokens is None else one.max_tokens for one in wanted]
        cost_ms = self._costs.batch_ms([prompt.tokens for prompt in prompts], limits)
        self._sleep(cost_ms * self._drawn(prompts) / 1000)
        return [self._answer(*each) for each in zip(prompts, limits, wanted, strict=True)]

    def _drawn(self, prompts: list[Prompt]) -> float:
        """What this batch takes as a multiple of the mean: other for other prompts, and so for other replicas."""
        if not self._exponential:
            return 1.0
        return -math.log1p(-self._share(prompts))

    def _share(self, prompts: list[Prompt]) -> float:
        """Uniform between 0 and 1."""
        self._batches += 1
        text = f"{self._seed} {self._batches} {prompts[0].text}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56

    def _answer(self, prompt: Prompt, limit: int, wanted: Wanted) -> Completion:
        ids = list(prompt.ids)
        for _ in range(limit):
            ids.append(next_token(ids, wanted.sampling))
        written = ids[len(prompt.ids) :]
        return Completion(self.text(written), limit, written)

    def text(self, ids: Sequence[int]) -> str:
        """The answer's words."""
        return spell(ids)

    def pieces(self) -> Pieces:
        """An answer's words, one by one."""
        return Words(WORDS.__getitem__)

    def stepper(
        self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int
    ) -> SimulatedStepper:
        """The same cost model and the same answers, a step at a time. Raises UserError where costs are drawn."""
        if self._exponential:
            raise UserError(
                "generator.distribution=exponential is of whole batches: server=continuous goes by steps"
            )
        sizes = divide(kv_memory, FREE_BYTES, TOKEN_BYTES, slots, prefix_share, longest)
        return self.stepping(self._costs, sizes, self._sleep, self._clock)

    def describe(self) -> dict[str, Scalar]:
        """The cost model, and that it is one."""
        return {
            "model": "simulated",
            "note": "simulated: a cost model, no language model",
            **self._costs.describe(),
            "distribution": "exponential" if self._exponential else "fixed",
        }


def _written(content: Asked) -> str:
    if isinstance(content, tuple):
        return "\n\n".join(content)
    if isinstance(content, str):
        return content
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in content)
