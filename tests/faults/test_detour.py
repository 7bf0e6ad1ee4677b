"""The proxy in between, over real sockets: what passes, what is held, and how a connection breaks."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlsys.faults.detour import Detour, Detours, Rule

SHORT_S, LONG_S = 0.3, 5.0


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "filler": "x" * 400}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def detour() -> Iterator[Detour]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Detours() as detours:
            yield detours.add("replica-0", lambda: f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def asked(detour: Detour, method: str = "GET", timeout_s: float = LONG_S) -> int:
    connection = http.client.HTTPConnection(detour.url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request(method, "/ready", body=b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_without_a_rule_everything_passes(detour: Detour) -> None:
    assert (asked(detour), asked(detour, "POST")) == (200, 200)


def test_answers_are_held_while_health_goes_on_and_come_when_the_rule_ends(detour: Detour) -> None:
    detour.rule = Rule(hold_answers=True)
    assert asked(detour) == 200
    with pytest.raises(TimeoutError):
        asked(detour, "POST", SHORT_S)
    threading.Timer(SHORT_S, lambda: setattr(detour, "rule", Rule())).start()
    began = time.monotonic()
    assert asked(detour, "POST") == 200
    assert time.monotonic() - began > 0.5 * SHORT_S


def test_nothing_passes_a_cut(detour: Detour) -> None:
    detour.rule = Rule(cut=True)
    with pytest.raises(TimeoutError):
        asked(detour, "GET", SHORT_S)


@pytest.mark.parametrize("after", [0, 100])
def test_a_connection_is_reset_after_so_many_bytes(detour: Detour, after: int) -> None:
    detour.rule = Rule(reset_after=after)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        asked(detour)
    detour.rule = Rule(reset_after=100_000)
    assert asked(detour) == 200


@pytest.mark.parametrize("rule", [Rule(delay_s=0.1), Rule(bytes_per_s=2000.0)])
def test_what_is_late_or_slow_comes_whole(detour: Detour, rule: Rule) -> None:
    detour.rule = rule
    began = time.monotonic()
    assert asked(detour) == 200
    assert time.monotonic() - began >= 0.2


def test_a_share_of_the_connections_is_drawn_once_each(detour: Detour) -> None:
    detour.rule = Rule(reset_after=0, share=0.5, seed=1)
    ended = []
    for _ in range(40):
        try:
            ended.append(asked(detour))
        except (ConnectionResetError, http.client.RemoteDisconnected):
            ended.append(0)
    assert 5 < ended.count(0) < 35
