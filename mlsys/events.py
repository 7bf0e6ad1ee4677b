"""Server-sent events (HTML Standard, 9.2) as they arrive from another service."""

from __future__ import annotations

from collections.abc import Iterator

Event = tuple[str, bytes]


class Events:
    """Bytes in, events out, in whatever chunks the bytes come. An event without its empty line is none."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._name, self._data = b"", list[bytes]()

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events (name, data) that end in this chunk. Raises UnicodeDecodeError for a name that is no UTF-8."""
        for line in self._lines(chunk):
            if line:
                self._take(line)
                continue
            if self._data:
                yield self._name.decode(), b"\n".join(self._data)
            self._name, self._data = b"", []

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """Whole lines. A line that comes in many chunks is put together once."""
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*self._begun, line)).removesuffix(b"\r")
            self._begun.clear()
        if rest:
            self._begun.append(rest)
