"""Messages arrive whole, however the bytes are cut, and never larger than the bound."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np
import pytest
from serving_doubles import eventually

from mlsys.serving.engine import frames
from mlsys.serving.engine.frames import Frames


async def test_messages_arrive_whole_and_in_order() -> None:
    came: list[dict[str, Any]] = []
    gone: list[bool] = []
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    reader = Frames(came.append, lambda: gone.append(True), lambda: None)
    writer = Frames(came.append, lambda: None, lambda: None)
    await loop.create_unix_connection(lambda: reader, sock=ours)
    await loop.create_unix_connection(lambda: writer, sock=theirs)
    messages: list[dict[str, Any]] = [
        {"text": [["a", "ö\ud800", None, float("inf")]]}, {}, {"large": "x" * 2_000_000}, {"n": 2**60},
    ]  # fmt: skip
    for message in messages:
        writer.send(message)
    writer.send({"scores": [np.float32(0.5), np.int64(3)]})
    await eventually(lambda: len(came) == 5)
    assert came == [*messages, {"scores": [0.5, 3]}]
    writer.close()
    await eventually(lambda: gone == [True])
    reader.send({"nobody": "hears it"})


def test_bytes_are_cut_anywhere_and_a_message_beyond_the_bound_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 20)
    came: list[dict[str, Any]] = []
    reader = Frames(came.append, lambda: None, lambda: None)
    raw = b"".join(frames.HEAD.pack(len(text)) + text for text in (b'{"a":1}', b"{}", b'{"b":[2]}'))
    for place in range(len(raw)):
        reader.data_received(raw[place : place + 1])
    assert came == [{"a": 1}, {}, {"b": [2]}]
    reader.data_received(frames.HEAD.pack(21) + b'{"c":"123456789012"} ')
    assert len(came) == 3
