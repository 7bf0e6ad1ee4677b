"""The first question to a service that is somebody else's: one line for whatever is wrong, and the same limits."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlsys.errors import UserError
from mlsys.loadtest.questions import Question
from mlsys.loadtest.server_counters import Stats
from mlsys.loadtest.service import Target
from mlsys.serving.process import ChildProcess

QUESTION = Question(0, "Why?", None)


@contextmanager
def answering(answer: bytes, wait: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A service that answers each connection so and closes it (`wait`: when the client goes). What it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)
                    if wait:
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def ask(url: str, timeout_s: float = 5.0, key: str | None = None) -> float:
    return Target(url, key, None, None).ask(QUESTION, 2, timeout_s)


def refused(url: str, timeout_s: float = 5.0, key: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        ask(url, timeout_s, key)
    return str(caught.value).removeprefix(f"server.url={url} ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answers POST /rag with status 500"),
        (
            b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "answers POST /rag with status 302: a redirect is not followed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
            "answers POST /rag with something that is no JSON: JSONDecodeError: Expecting value",
        ),
        (b"", "gives no answer to POST /rag: ServerDisconnectedError: Server disconnected"),
    ],
)
def test_what_is_no_answer_is_one_line(answer: bytes, message: str) -> None:
    with answering(answer) as (url, asked):
        assert refused(url).startswith(message)
    assert len(asked) == 1


def test_the_whole_first_question_has_one_time_limit() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", wait=True) as (url, _):
        assert refused(url, timeout_s=0.2) == "gives no answer to POST /rag within 0.2 s"


def test_a_service_of_ours_that_is_slower_than_the_limit_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsys.loadtest.service.ENDING_S", 0.05)
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", wait=True) as (url, _),
        ChildProcess(argv, None, tmp_path / "server.log") as process,
        pytest.raises(UserError) as caught,
    ):
        Target(url, None, process, 1.0).ask(QUESTION, 2, 0.2)
    assert str(caught.value).startswith(
        "loadtest.timeout_s=0.2: the service gives no answer to POST /rag within 0.2 s"
    )


def test_a_key_that_no_header_can_carry_is_one_line() -> None:
    with answering(b"") as (url, _):
        message = refused(url, key="a\nb")
    assert message.startswith("gives no answer to POST /rag: ValueError: ")
    assert "\n" not in message


def test_an_odd_first_answer_is_said_and_the_load_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    body = b'{"query": "Why?", "result": "x", "batch_size": -1}'
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as (url, _):
        assert ask(url) > 0
    assert "the answer's batch_size: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_stats_behind_a_redirect_are_not_asked_for() -> None:
    with answering(b"HTTP/1.1 302 No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n") as (url, asked):
        assert Target(url, "secret", None, None).stats() == Stats()
    assert len(asked) == 1


def test_backends_that_do_not_answer_are_named_and_not_taken_for_an_error_of_the_balancer(
    tmp_path: Path,
) -> None:
    process = ChildProcess([sys.executable, "-c", "import time; time.sleep(600)"], {}, tmp_path / "log")
    given = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    answer = b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as (url, _), process, pytest.raises(UserError) as caught:
        Target(url, None, process, 1.0, backends=given).ask(QUESTION, 2, 5.0)
    assert str(caught.value) == (
        f"server.backends=[{','.join(given)}]: the balancer before them answers POST /rag with status 503"
    )
