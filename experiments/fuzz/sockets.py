"""Mutated HTTP requests over raw sockets: `python experiments/fuzz/sockets.py http://127.0.0.1:8000 --seconds 60`.

Each begins as a valid request and is cut, doubled, flipped, or lies about its length. Whatever comes, the service must
answer without a fault of its own (no 5xx but 503 and 504, which say that it is full or late), close, and not grow. What
was sent is repeated by `--seed`. Prints counts as JSON; exit status 1 where a rule was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from urllib.parse import urlsplit

import psutil

ANSWER_S, SOON_S = 20.0, 0.3
BUSY = {"503", "504"}
QUESTION = {"query": "How fast is a cat?", "k": 2}
CHAT = {
    "model": "rag",
    "messages": [{"role": "user", "content": "How fast?"}],
    "stream": True,
    "max_tokens": 4,
}
Mutation = Callable[[random.Random, bytes], bytes]


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """A valid request with a stated length."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(path: str, body: bytes) -> bytes:
    """The same in two chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    half = len(body) // 2
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece]
    return head.encode() + b"".join(pieces) + b"0\r\n\r\n"


def valid() -> list[bytes]:
    """What mutations begin with."""
    question, chat = json.dumps(QUESTION).encode(), json.dumps(CHAT).encode()
    gets = [
        f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("/health", "/stats", "/metrics", "/")
    ]
    return [
        *gets,
        post("/rag", question),
        chunked("/rag", question),
        post("/rag", json.dumps({**QUESTION, "stream": True}).encode()),
        post("/rag/jobs", question),
        post("/v1/chat/completions", chat),
        post("/v1/completions", json.dumps({"model": "rag", "prompt": "x", "max_tokens": 2}).encode()),
        post("/v1/embeddings", json.dumps({"model": "hashing", "input": ["x"]}).encode()),
        post("/rag", b"[" * 5000),
        post("/rag", b'{"query": "\\ud800", "k": 1e999}'),
        post("/rag", b'{"query": ' + b'"' + b"\xff\xfe" * 50 + b'"}'),
        gets[0] + post("/rag", question),
    ]


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def _without(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 40) :]


def _twice(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    end = start + chance.randrange(1, 80)
    return data[:end] + data[start:]


def _flipped(chance: random.Random, data: bytes) -> bytes:
    some = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        some[chance.randrange(len(some))] = chance.randrange(256)
    return bytes(some)


def _stuffed(chance: random.Random, data: bytes) -> bytes:
    start, size = chance.randrange(len(data)), chance.choice([1, 10, 1000, 70_000])
    return data[:start] + chance.choice([b"\x00", b"A", b"\r\n", b": ", b"\xff"]) * size + data[start:]


def _liar(chance: random.Random, data: bytes) -> bytes:
    line = chance.choice([
        b"Content-Length: %d" % chance.choice([0, 1, 65537, 10**9, 10**30]),
        b"Content-Length: -1",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Expect: 100-continue",
        b"Upgrade: h2c\r\nConnection: upgrade",
        b"X-Request-ID: " + b"z" * 300,
    ])  # fmt: skip
    return data.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


MUTATIONS: list[Mutation] = [_cut, _without, _twice, _flipped, _stuffed, _liar]


def _first(client: socket.socket) -> bytes:
    """The beginning of the answer; a client that is not answered at once says that nothing more will come."""
    client.settimeout(SOON_S)
    try:
        return client.recv(64)
    except TimeoutError:
        client.settimeout(ANSWER_S)
        client.shutdown(socket.SHUT_WR)
        return client.recv(64)


def exchange(host: str, port: int, data: bytes, reset: bool) -> str:
    """Send it, and what came: a status, `closed`, `reset` (by either) or `hang`."""
    with socket.create_connection((host, port), ANSWER_S) as client:
        try:
            client.sendall(data)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                return "reset"
            answer = _first(client)
        except TimeoutError:
            return "hang"
        except OSError:
            return "reset"
    words = answer.split(b" ", 2)
    return (
        words[1].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") and len(words) > 1 else "closed"
    )


def main(words: list[str]) -> int:
    """Send for so long; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, help="so many, however long they take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pid", type=int, help="the service's process, to see whether it grows")
    asked = parser.parse_args(words)
    address = urlsplit(asked.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    chance, begun, outcomes = random.Random(asked.seed), valid(), Counter[str]()
    watched = psutil.Process(asked.pid) if asked.pid else None
    warm_bytes = files = 0
    started = time.monotonic()
    for number in count():
        passed = time.monotonic() - started
        if passed >= asked.seconds if asked.requests is None else number >= asked.requests:
            break
        data = chance.choice(begun)
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            data = chance.choice(MUTATIONS)(chance, data) or b"\n"
        outcomes[exchange(host, port, data, reset=chance.random() < 0.05)] += 1
        if watched is not None and not warm_bytes and (number > 20 or passed > asked.seconds / 10):
            warm_bytes, files = watched.memory_info().rss, watched.num_fds()
    whole = exchange(host, port, valid()[0], reset=False)
    faults = sum(n for what, n in outcomes.items() if what.startswith("5") and what not in BUSY)
    told: dict[str, object] = {
        "requests": sum(outcomes.values()), "outcomes": dict(sorted(outcomes.items())), "faults": faults,
        "hangs": outcomes["hang"], "a_valid_one_afterwards": whole, "seed": asked.seed,
    }  # fmt: skip
    if watched is not None:
        told |= {"rss_growth": round(watched.memory_info().rss / warm_bytes - 1, 4)}
        told |= {"files_before": files, "files_after": watched.num_fds()}
    print(json.dumps(told, indent=1))
    return int(bool(faults or outcomes["hang"] or whole != "200"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
