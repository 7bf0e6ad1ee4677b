"""Key and body size, at the ASGI level."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlsys.serving.http.keyring import Keyring
from mlsys.serving.http.middleware import Message, Middleware, Receive, Send
from mlsys.serving.http.rates import Rates

Headers = Sequence[tuple[bytes, bytes]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


async def call(
    guard: Middleware, path: str = "/rag", headers: Headers = (), chunks: Sequence[bytes] = (b"",)
) -> tuple[int, bytes]:
    sent = []
    messages = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name, value) for name, value in headers],
    }
    await guard(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


OPEN = Keyring(None)


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> Middleware:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    return Middleware(application, Keyring("env:MLSYS_TEST_KEY"), 100)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"s3cret")],
        [(b"X-API-Key", b"s3cret")],
        [(b"authorization", b"Bearer s3cret")],
        [(b"authorization", b"bearer s3cret")],
        [(b"Authorization", b"BEARER  s3cret ")],
    ],
)
async def test_the_right_key_gets_in(keyed: Middleware, headers: Headers) -> None:
    assert await call(keyed, headers=headers) == (200, b"in")


@pytest.mark.parametrize("path", ["/rag", "/rag/jobs", "/rag/jobs/1", "/stats"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"s3cre")],
        [(b"x-api-key", "\N{SNOWMAN}".encode())],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"s3cret")],
        [(b"authorization", b"Basic s3cret")],
        [(b"authorization", b"Bearers3cret")],
        [(b"authorization", b"Bearer s3cret x")],
        [(b"x-api-key", b"wrong"), (b"authorization", b"Bearer s3cret")],
    ],
)
async def test_a_wrong_key_does_not(keyed: Middleware, path: str, headers: Headers) -> None:
    status, body = await call(keyed, path, headers)
    assert status == 401
    assert b"s3cret" not in body


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/openapi.json"])
async def test_watching_needs_no_key(keyed: Middleware, path: str) -> None:
    assert await call(keyed, path) == (200, b"in")


async def test_the_key_is_compared_in_constant_time(
    keyed: Middleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        seen.append((a, b))
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    await call(keyed, headers=[(b"x-api-key", b"guess")])
    assert seen == [(b"guess", b"s3cret")]


async def test_only_the_first_key_opens_the_operators_doors(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# operator\nfirst\n\nsecond\n")
    guard = Middleware(application, Keyring(f"file:{tmp_path}/keys"), 100)
    found = [
        (await call(guard, "/admin/reload", [(b"x-api-key", key)]))[0] for key in (b"first", b"second", b"")
    ]
    assert found == [200, 403, 401]
    assert (await call(Middleware(application, OPEN, 100), "/admin/reload"))[0] == 403


async def test_each_key_has_its_rate_and_watching_has_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\nsecond\n")
    guard = Middleware(application, Keyring(f"file:{tmp_path}/keys"), 100, Rates(1.0, 2, lambda: 0.0))

    async def statuses(path: str, key: bytes) -> list[int]:
        return [(await call(guard, path, [(b"x-api-key", key)]))[0] for _ in range(3)]

    assert await statuses("/rag", b"first") == [200, 200, 429]
    assert await statuses("/v1/chat/completions", b"first") == [429] * 3
    assert await statuses("/rag", b"second") == [200, 200, 429]
    assert await statuses("/health", b"") == [200] * 3
    status, body = await call(guard, "/v1/completions", [(b"x-api-key", b"second")])
    assert (status, "rate_per_key" in json.loads(body)["error"]["message"]) == (429, True)


async def test_a_stated_length_is_refused_unread() -> None:
    status, body = await call(
        Middleware(application, OPEN, 100), headers=[(b"content-length", b"101")], chunks=()
    )
    assert status == 413
    assert json.loads(body) == {"detail": "body: larger than server.max_body_bytes=100"}


async def test_an_unstated_length_is_counted() -> None:
    from starlette.exceptions import HTTPException

    guard = Middleware(application, OPEN, 100)
    assert await call(guard, chunks=[b"x" * 50, b"x" * 50]) == (200, b"in")
    with pytest.raises(HTTPException) as caught:
        await call(guard, chunks=[b"x" * 50, b"x" * 51, b"never read"])
    assert caught.value.status_code == 413
