"""Vector distances on CPUs and GPUs: `distance(x, y, "cosine")`, and the parts of which it is made.

The names are looked up on first use: the configuration needs this package's options, and they cost no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsys.distance.cross.matrix import cdist
    from mlsys.distance.expected import Reference, reference
    from mlsys.distance.pair import Plan, distance, plan
    from mlsys.distance.streaming import StreamPlan, stream

__all__ = ["Plan", "Reference", "StreamPlan", "cdist", "distance", "plan", "reference", "stream"]

HOMES = {
    "Plan": "pair",
    "Reference": "expected",
    "StreamPlan": "streaming",
    "cdist": "cross.matrix",
    "distance": "pair",
    "plan": "pair",
    "reference": "expected",
    "stream": "streaming",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value
    return value
