"""Engines at an address: what a generator and an embedder share that ask another server over HTTP."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mlsys.rag.upstream.errors import UpstreamError
from mlsys.rag.upstream.upstream import Knobs, Upstream

__all__ = ["Knobs", "Remote", "Upstream", "UpstreamError"]


@runtime_checkable
class Remote(Protocol):
    """A part of the pipeline that asks another server."""

    upstream: Upstream
