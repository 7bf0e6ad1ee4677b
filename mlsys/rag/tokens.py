"""A folder's tokenizer by the library `tokenizers` alone: what a chat needs of one, without a library of all models.

Templates are a model's own code. They run in jinja's sandbox, with the functions that such templates expect.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

PLAIN = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})  # classes that change nothing of the file
FILE, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def read(folder: Path, more: frozenset[str] = frozenset()) -> Chatting | None:
    """The tokenizer in a folder; None where its file is not all that there is to it.

    `more`: other classes of transformers that leave the file as it is.
    """
    if not ((folder / FILE).exists() and (folder / CONFIG).exists()):
        return None
    told = json.loads((folder / CONFIG).read_text())
    changed = (
        told.get("clean_up_tokenization_spaces") or told.get("add_bos_token") or told.get("add_eos_token")
    )
    if told.get("tokenizer_class") not in PLAIN | more or changed or told.get("auto_map"):
        return None
    template = (folder / TEMPLATE).read_text() if (folder / TEMPLATE).exists() else told.get("chat_template")
    if not isinstance(template, str | None):
        return None
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / FILE))
    backend.no_truncation()
    backend.no_padding()
    special = {name: _text(told[name]) for name in SPECIAL if told.get(name) is not None}
    if any(backend.token_to_id(text) is None for text in special.values()):
        return None
    return Chatting(backend, special, template)


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


class Chatting:
    """Under the names that transformers gives them."""

    def __init__(self, backend: Any, special: dict[str, str], template: str | None) -> None:
        self.backend_tokenizer, self.chat_template, self.special = backend, template, special
        self.eos_token_id = self._id("eos_token")
        self.pad_token_id = self._id("pad_token")

    def _id(self, name: str) -> int | None:
        return self.backend_tokenizer.token_to_id(self.special[name]) if name in self.special else None

    def __call__(
        self, texts: str | list[str], add_special_tokens: bool = True, verbose: bool = True
    ) -> dict[str, Any]:
        """`input_ids` of a text, or of each."""
        encode = self.backend_tokenizer.encode
        if isinstance(texts, str):
            return {"input_ids": encode(texts, add_special_tokens=add_special_tokens).ids}
        coded = self.backend_tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in coded]}

    def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        """The text of each row."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        """The text of one."""
        text: str = self.backend_tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def apply_chat_template(
        self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """A conversation in the model's own form. Raises what the template raises."""
        if self.chat_template is None or tokenize:
            raise ValueError("a template gives text, where there is one")
        text: str = _compiled(self.chat_template).render(
            messages=messages, add_generation_prompt=add_generation_prompt, tools=None, **self.special
        )
        return text


@lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def as_json(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    place = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    place.filters["tojson"] = as_json
    place.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return place.from_string(template)
