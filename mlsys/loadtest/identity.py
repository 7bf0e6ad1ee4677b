"""What a service at an address says of itself: which server, version and model, as vLLM, SGLang, llama-server, TGI and
TEI tell it. What it does not tell stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mlsys.loadtest.client import GET_TIMEOUT_S, Client
from mlsys.loadtest.server_counters import NAMES
from mlsys.record import Scalar

MODELS, VERSION, INFO = "/v1/models", "/version", "/info"


@dataclass(frozen=True)
class Identity:
    """None where it is not told. `model`: the first of those that can be asked."""

    model: str | None = None
    server: str | None = None
    version: str | None = None

    def described(self, asked: str | None) -> dict[str, Scalar]:
        """As it stands in a record: `service.model` is the one that is asked."""
        return {
            "service.model": asked or self.model,
            "service.server": self.server,
            "service.version": self.version,
        }


def ask(url: str, headers: Mapping[str, str]) -> Identity:
    """Ask it; whatever is missing or odd is left out, and nobody there is nothing told."""

    async def get() -> list[Any]:
        async with Client(url, headers, 1, GET_TIMEOUT_S, None) as client:
            return await asyncio.gather(*(client.get(path) for path in (MODELS, VERSION, INFO)))

    return read(*asyncio.run(get()))


def read(models: Any, version: Any, info: Any) -> Identity:
    """What is told in the parsed bodies of the three paths (None: there is no such path)."""
    listed = models.get("data") if isinstance(models, Mapping) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    return Identity(
        model=_text(first, "id") or _text(info, "model_id"),
        server=_text(first, "owned_by"),
        version=_text(version, "version") or _text(info, "version"),
    )


def _text(content: Any, name: str) -> str | None:
    found = content.get(name) if isinstance(content, Mapping) else None
    try:
        return None if found is None else NAMES.validate_python(found)
    except ValidationError:
        return None
