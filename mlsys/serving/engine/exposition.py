"""Two processes' meters as one page of Prometheus's text format."""

from __future__ import annotations

import re

FAMILY = re.compile(r"^(?=# HELP )", re.MULTILINE)
OURS = (  # what the process of HTTP counts; the engine's process has the same meters and does not use them
    "mlsys_requests", "mlsys_request_duration", "mlsys_stage_duration", "mlsys_ready", "mlsys_jobs",
)  # fmt: skip
THEIRS = ("mlsys_requests_running",)


def merged(ours: str, theirs: str) -> str:
    """Each family once: those of requests as they are answered from `ours`, all others from `theirs`."""
    own = _families(ours)
    return "".join(
        {**own, **_families(theirs), **{name: own[name] for name in own if _is_ours(name)}}.values()
    )


def _families(text: str) -> dict[str, str]:
    return {block.split(maxsplit=3)[2]: block for block in FAMILY.split(text) if block}


def _is_ours(name: str) -> bool:
    return name.startswith(OURS) and name not in THEIRS
