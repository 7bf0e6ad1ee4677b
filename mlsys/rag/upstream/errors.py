"""What went wrong with another server's answer, in one line, and what that means to whoever waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from mlsys import bodies

LONGEST = 200
LONGEST_RETRY_AFTER_S = 86_400.0
ASKED_WRONGLY = frozenset({400, 413, 422})


class UpstreamError(RuntimeError):
    """`status`: what a client is told: 400 (it asked for what cannot be had), 429, 502 or 504. `kind`: for counting.

    `again`: it may go better if it is asked once more. `retry_after_s`: when.
    """

    def __init__(
        self, status: int, kind: str, text: str, again: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.kind, self.again, self.retry_after_s = status, kind, again, retry_after_s

    def of(self, name: str) -> UpstreamError:
        """The same with the server's name before it."""
        return UpstreamError(self.status, self.kind, f"{name} {self}", self.again, self.retry_after_s)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error that an answer of another status than 200 is."""
    if 300 <= status < 400:
        return UpstreamError(502, "redirect", f"answers {status}: a redirect is not followed")
    said = words(body)
    text = f"answers {status}: {said}" if said else f"answers {status}"
    after_s = _seconds(headers.get("Retry-After", ""))
    if status == 429:
        return UpstreamError(429, "rate_limit", text, again=True, retry_after_s=after_s)
    if status in ASKED_WRONGLY:
        return UpstreamError(400, "refused", text)
    again = status == 408 or status >= 500
    return UpstreamError(502, "status", text, again, after_s if again else None)


def words(body: bytes) -> str:
    """What an error's body says: OpenAI's `error.message`, FastAPI's `detail`, a plain `error`, else its beginning."""
    try:
        found = bodies.parse(body)
    except ValueError:
        return plain(body[: 4 * LONGEST].decode(errors="replace"))
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return plain(found if isinstance(found, str) else json.dumps(found))


def plain(text: str) -> str:
    """A stranger's words as one short line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:LONGEST]


def _seconds(text: str) -> float | None:
    """A `Retry-After`, which is a number or a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return None
    return seconds if 0 <= seconds <= LONGEST_RETRY_AFTER_S else None
