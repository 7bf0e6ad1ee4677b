"""How a service is asked and what of its answer counts: `server.api` names the module, `rag` is this project's own.

The client sends, bounds and stamps, whatever the service speaks. What it sends, and whether what comes is an answer, is
said here, one module for each protocol.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlsys.errors import UserError
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import Row
from mlsys.loadtest.stream import Streamed

CLASSES = {
    "rag": "rag.Rag",
    "openai": "openai.Chat",
    "completions": "openai.Completions",
    "embeddings": "openai.Embeddings",
    "tei": "tei.Tei",
    "template": "template.Template",
}


@dataclass(frozen=True)
class Asking:
    """One request: `path` is put after the service's address; `body` is sent as JSON, None: without one."""

    method: str
    path: str
    body: Any


class Api(Protocol):
    """One protocol. `shown`: what is asked, in words; `streams`: whether answers can come piece by piece."""

    shown: str
    streams: bool

    def root(self, url: str) -> str:
        """The service's address without what belongs to this protocol: where `/metrics` lies."""

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """What is sent for a question. `row.max_tokens`: the length that the answer is to have, None: the service's."""

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """Set the row's outcome and what the answer tells. `body`: parsed JSON (None: it is none) of any status."""

    def streamed(self, row: Row) -> Streamed:
        """What takes the events of a streamed answer, and makes of them the `body` that `judge` gets."""


TALKING = ("rag", "openai")  # what was said before can be sent with a question
OF_TEXTS = ("model", "parameters", "path")
USED = {
    "rag": ("path",),
    "openai": OF_TEXTS,
    "completions": OF_TEXTS,
    "embeddings": OF_TEXTS,
    "tei": ("parameters", "path"),
    "template": ("method", "path", "body", "answer", "tokens"),
}


@dataclass(frozen=True)
class Settings:
    """The knobs of `server=external` that say how it is asked; their meaning stands in `conf/server/external.yaml`."""

    api: str = "rag"
    model: str | None = None
    parameters: Mapping[str, Any] | None = None
    method: str = "POST"
    path: str | None = None
    body: Any = None
    answer: str | None = None
    tokens: str | None = None


def make(section: Mapping[str, Any]) -> Api:
    """The protocol that a `server` section names; this project's own where it names none. Raises UserError."""
    settings = Settings(**{name: section[name] for name in Settings.__annotations__ if name in section})
    if settings.api not in CLASSES:
        raise UserError(f"server.api={settings.api} is none of {', '.join(CLASSES)}")
    for name, value in vars(settings).items():
        if (
            name != "api"
            and name not in USED[settings.api]
            and value not in (None, {}, vars(Settings())[name])
        ):
            raise UserError(
                f"server.{name}={value} means nothing to server.api={settings.api}, which has"
                f" {', '.join(USED[settings.api])}"
            )
    module, _, name = CLASSES[settings.api].partition(".")
    made: Api = getattr(importlib.import_module(f"{__name__}.{module}"), name)(settings)
    return made
