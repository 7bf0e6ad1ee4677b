"""Between text and token ids: the model's chat template where it has one, else a plain prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from mlsys.rag.generator import Asked, Message, Prompt
from mlsys.rag.generator.pieces import Decoded
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

    def _renders(self, start: list[Message]) -> bool:
        try:
            self._render([*start, {"role": "user", "content": "u"}])
        except Exception:  # a template refuses a role with whatever its author raised
            return False
        return True

    def _render(self, messages: list[Message]) -> str:
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

    def conversation(self, messages: list[Message]) -> str:
        """The whole prompt of a conversation as text; without a template each message is led by its role."""
        if not self._templated:
            said = "".join(f"{message['role']}: {message['content']}\n\n" for message in messages)
            return f"{said}assistant:"
        return self._render(messages if self._has_system else without_system(messages))

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts with their ids, tokenised in one call; a plain text gets the special tokens that texts begin with."""
        texts = [self._written(content) for content in contents]
        ids = self._ids(texts, special=not self._templated)
        if self._templated and (plain := [text for text in contents if isinstance(text, str)]):
            begun = iter(self._ids(plain, special=True))
            ids = [
                next(begun) if isinstance(content, str) else row
                for content, row in zip(contents, ids, strict=True)
            ]
        return [Prompt(text, len(row), row) for text, row in zip(texts, ids, strict=True)]

    def _written(self, content: Asked) -> str:
        if isinstance(content, tuple):
            return self.text(*content)
        return content if isinstance(content, str) else self.conversation(content)

    def _ids(self, texts: list[str], special: bool) -> list[list[int]]:
        coded = self._tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
        return [list(ids) for ids in coded]

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

    def pieces(self) -> Decoded:
        """The same, before spaces around it are dropped, token by token."""
        return Decoded(self._tokenizer.backend_tokenizer, self.ends)


def without_system(messages: list[Message]) -> list[Message]:
    """The same for a template that knows no system role: what it said leads the message after it."""
    kept, said = list[Message](), ""
    for message in messages:
        if message["role"] == "system":
            said += f"{message['content']}\n\n"
        else:
            kept.append({**message, "content": said + message["content"]})
            said = ""
    return kept
