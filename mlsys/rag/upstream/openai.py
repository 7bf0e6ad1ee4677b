"""What a server says of itself that speaks OpenAI's API: its models, and who it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlsys.errors import UserError
from mlsys.rag.upstream import address
from mlsys.rag.upstream.errors import plain
from mlsys.rag.upstream.upstream import Upstream
from mlsys.record import Scalar

MODELS = "/models"
VERSIONS = ("/version", "/api/version")  # vLLM and SGLang; Ollama
UNKNOWN = "unknown"
SHOWN = 5


@dataclass(frozen=True)
class Served:
    """One model at one server. `facts`: what else is told of it, for the record."""

    model: str
    server: str
    version: str
    facts: dict[str, Scalar] = field(default_factory=dict)

    def describe(self) -> dict[str, Scalar]:
        """What the record should say, and what nobody could tell."""
        missing = [name for name in ("server", "version") if getattr(self, name) == UNKNOWN]
        return {
            "model": self.model,
            "server": self.server,
            "server_version": self.version,
            **self.facts,
            "not_known": ", ".join([*missing, "weights' revision", "dtype", "hardware"]),
        }


def served(upstream: Upstream, model: str | None, lists_all: bool = True) -> Served:
    """The model that is asked for; None: the only one there. A server without a list is believed to have what is named.

    So is one that need not list all of its models. Raises UserError where it is not there, or is not the only one.
    """
    option = f"{upstream.group}.model"
    listed = {str(one["id"]): one for one in _models(upstream.told(upstream.base + MODELS))}
    there = ", ".join([*map(plain, list(listed)[:SHOWN]), *(["…"] if len(listed) > SHOWN else [])])
    if model is None and len(listed) != 1:
        raise UserError(f"{option} is missing: {upstream.name} has {there or 'no list of models'}")
    if model is not None and listed and lists_all and model not in listed:
        raise UserError(f"{option}={model} is not there: {upstream.name} has {there}")
    name = model if model is not None else next(iter(listed))
    told = listed.get(name, {})
    facts: dict[str, Scalar] = {
        knob: value for knob in ("root", "max_model_len") if isinstance(value := told.get(knob), str | int)
    }
    return Served(name, _server(told), _version(upstream), facts)


def _models(content: Any) -> list[dict[str, Any]]:
    listed = content.get("data") if isinstance(content, dict) else None
    return [one for one in listed or () if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _server(told: dict[str, Any]) -> str:
    owner = told.get("owned_by")
    return plain(owner) if isinstance(owner, str) and owner else UNKNOWN


def _version(upstream: Upstream) -> str:
    for path in VERSIONS:
        content = upstream.told(address.root(upstream.base) + path)
        if isinstance(content, dict) and isinstance(content.get("version"), str):
            return plain(content["version"])
    return UNKNOWN
