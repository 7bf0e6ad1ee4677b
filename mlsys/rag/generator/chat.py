"""Between text and token ids: the model's chat template where it has one, else a plain prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from mlsys.rag.generator import Prompt
from mlsys.rag.prompt import INSTRUCTION


class Chat:
    """A tokenizer with its template and its end tokens."""

    def __init__(self, tokenizer: Any, generation_config: Any) -> None:
        self._tokenizer = tokenizer
        self._templated = bool(getattr(tokenizer, "chat_template", None))
        self._has_system = self._templated and self._renders([{"role": "system", "content": "s"}])
        ends = getattr(generation_config, "eos_token_id", None)
        known = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self.ends: frozenset[int] = frozenset(end for end in known if end is not None)
        pads = [tokenizer.pad_token_id, tokenizer.eos_token_id, 0]
        self.pad: int = next(pad for pad in pads if pad is not None)

    def _renders(self, start: list[dict[str, str]]) -> bool:
        try:
            self._render([*start, {"role": "user", "content": "u"}])
        except Exception:  # a template refuses a role with whatever its author raised
            return False
        return True

    def _render(self, messages: list[dict[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text

    def text(self, instruction: str, content: str) -> str:
        """The whole prompt as text."""
        if self._has_system:
            return self._render(
                [{"role": "system", "content": instruction}, {"role": "user", "content": content}]
            )
        if self._templated:
            return self._render([{"role": "user", "content": f"{instruction}\n\n{content}"}])
        return f"{instruction}\n\n{content}\nAnswer:"

    def prompts(self, contents: Sequence[tuple[str, str]]) -> list[Prompt]:
        """Prompts with their ids; the batch is tokenised in one call."""
        texts = [self.text(instruction, content) for instruction, content in contents]
        coded = self._tokenizer(texts, add_special_tokens=not self._templated, verbose=False)["input_ids"]
        return [Prompt(text, len(ids), list(ids)) for text, ids in zip(texts, coded, strict=True)]

    def prefix(self) -> list[int]:
        """Ids that prompts with the usual instruction start with, whatever is asked."""
        one, other = self.prompts([(INSTRUCTION, "[1] a"), (INSTRUCTION, "[1] 9")])
        return [
            id_
            for id_, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one.ids, other.ids, strict=False))
        ][:-1]

    def texts(self, rows: list[list[int]]) -> list[str]:
        """Answers as text, without special tokens."""
        decoded: list[str] = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in decoded]
