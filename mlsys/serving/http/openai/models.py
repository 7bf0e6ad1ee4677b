"""`GET /v1/models`: what can be asked, by name."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel


class Model(BaseModel):
    """One name."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "mlsys"


class Models(BaseModel):
    """All names."""

    object: str = "list"
    data: list[Model]


def listed(names: Sequence[str]) -> Models:
    """The document."""
    return Models(data=[Model(id=name) for name in names])
