"""Prompts to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mlsys.rag.generator.pieces import Pieces
from mlsys.rag.generator.stepping import GREEDY, Sampling, Stepper
from mlsys.record import Scalar

Message = dict[str, str]  # `role`: system, user or assistant; `content`: text
Asked = tuple[str, str] | list[Message] | str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text and as the token ids that the generator reads (empty where it has no tokenizer).

    `messages`: the conversation, for a generator that sends it on and does not know the model's own form.
    """

    text: str
    tokens: int
    ids: list[int] = field(default_factory=list)
    messages: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated: the text, the number of new tokens, and their ids.

    Of another server's answers: `finish` is why it ended, `prompt_tokens` what the server counted. `tokens` is None
    where it does not say. `failure`: why there is no answer, which is this prompt's alone.
    """

    text: str
    tokens: int | None
    ids: list[int] = field(default_factory=list)
    finish: str | None = None
    prompt_tokens: int | None = None
    failure: Exception | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answer that a prompt asks for. None: as the generator is configured.

    `exact`: just `max_tokens` new tokens, end tokens or not. `stop`: texts that end it, for a generator that can stop
    there; whoever asks cuts it off at them in any case. `unwanted`: whether nobody waits for it any more.
    """

    max_tokens: int | None = None
    exact: bool | None = None
    sampling: Sampling = GREEDY
    stop: Sequence[str] = ()
    unwanted: Callable[[], bool] = bool


class Generator(Protocol):
    """Writes answers for a batch of prompts. Constructing is cheap, `load` gets the weights.

    `ends`: ids of end tokens; `fixed_length`: answers have `max_new_tokens` where nobody asks for another form.
    """

    name: str
    max_new_tokens: int
    fixed_length: bool

    @property
    def ends(self) -> frozenset[int]:
        """Ids of the tokens that end an answer."""
        ...

    def allow(self, max_tokens: int) -> None:
        """Before `load`: answers of up to so many tokens may be wanted, `max_new_tokens` in any case."""
        ...

    def load(self, device: str, seed: int) -> None:
        """Fetch and load. `device` is `cpu` or `cuda`; `seed` decides random weights."""
        ...

    def warm(self, max_batch: int) -> None:
        """Run what the first requests would otherwise wait for, at batch sizes up to `max_batch`."""
        ...

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts in the model's own form: of (instruction, question with its passages) pairs, of conversations
        (lists of messages), or of plain texts that are to be continued as they are.
        """
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """How many tokens a prompt may have."""
        ...

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """Answers for the whole batch. `wanted`: of each prompt, or none: all are as configured."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """What an answer's tokens spell, as in `generate`'s answers: up to the first end token."""
        ...

    def pieces(self) -> Pieces:
        """The pieces of one answer's text, which come with its tokens: together its `text`, with spaces around it."""
        ...

    def stepper(self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int) -> Stepper:
        """The engine at token level, after `load`.

        `slots`: sequences at once at most; `kv_memory`: bytes for keys and values; None: what there is room for.
        `prefix_share` of the memory is the pool's. `longest`: tokens of the longest sequence, prompt and answer.
        Raises UserError where this engine has no such level, or the memory is too small for one sequence.
        """
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...
