"""Server-sent events (HTML Standard, 9.2): one event is a name, if it has one, and one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MEDIA_TYPE = "text/event-stream"
END = b"\n\n"
DONE = b"data: [DONE]" + END  # how OpenAI's streams end
LAST = (DONE, b"event: done\n", b"event: error\n")  # what the last event of a whole stream begins with


def event(content: Mapping[str, Any], name: str | None = None) -> bytes:
    """`content` as one event; JSON leaves no line break in it."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(content, allow_nan=False)}\n\n".encode()


def described(*names: str) -> dict[str, Any]:
    """What the OpenAPI document says of a stream whose events have these names, or none."""
    named = {"event": {"enum": list(names)}} if names else {}
    fields = {**named, "data": {"type": "string", "description": "JSON"}}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return {MEDIA_TYPE: {"schema": schema}}
