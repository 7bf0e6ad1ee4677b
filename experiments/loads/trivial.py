"""A service that does next to nothing, to see what the load generator itself can send: `python trivial.py PORT`.

`POST /rag` is answered at once with the question. Bodies are cut by their Content-Length and nothing else is looked at.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
NONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
LENGTH = b"content-length:"


class Trivial(asyncio.Protocol):
    """One connection; requests may come in pieces, or several at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with nothing."""
        self.transport, self.kept = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self.kept += data
        while (end := self.kept.find(b"\r\n\r\n")) >= 0:
            head = self.kept[:end].lower()
            at = head.find(LENGTH)
            size = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.kept) < end + 4 + size:
                return
            body, self.kept = self.kept[end + 4 : end + 4 + size], self.kept[end + 4 + size :]
            self.transport.write(_answer(body))


def _answer(body: bytes) -> bytes:
    if not body:
        return NONE
    content = json.dumps({"query": json.loads(body)["query"], "result": "yes", "tokens": 1}).encode()
    return HEAD % len(content) + content


async def main(port: int) -> None:
    """Serve until the end."""
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", port)
    print(f"serving on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
