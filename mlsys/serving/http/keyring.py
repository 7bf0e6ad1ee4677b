"""The keys that open the service, read again when their file changes: none needs a new start."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from pathlib import Path

from mlsys import keys
from mlsys.errors import UserError
from mlsys.progress import say
from mlsys.serving.fairness import BETWEEN
from mlsys.serving.http.fields import USER_CHARS
from mlsys.serving.request import Clock

LOOK_S = 1.0  # how old what is known of the file may be


class Keyring:
    """`source` is `env:NAME`, `file:PATH` or None (no key is needed). Raises UserError where it holds none."""

    def __init__(self, source: str | None, clock: Clock = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._path = Path(source.removeprefix("file:")) if source and source.startswith("file:") else None
        self._keys = [key.encode() for key in keys.read_all(source)]
        self._seen, self._looked_at = self._stamp(), clock()

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return self._source is None

    def knows(self, sent: bytes) -> bool:
        """Whether `sent` is one of the keys; each is compared in constant time, and with all of them."""
        self._look()
        return sum(hmac.compare_digest(sent, key) for key in self._keys) > 0

    def is_first(self, sent: bytes) -> bool:
        """Whether `sent` is the first of the keys, the operator's."""
        self._look()
        return bool(self._keys) and hmac.compare_digest(sent, self._keys[0])

    def _look(self) -> None:
        """A file that is gone or holds no key changes nothing: the keys that were known go on to hold."""
        if self._path is None or self._clock() - self._looked_at < LOOK_S:
            return
        self._looked_at = self._clock()
        if (stamp := self._stamp()) == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = [key.encode() for key in keys.read_all(self._source)]
            say(f"server.api_key={self._source} has changed: {len(self._keys)} keys hold now")
        except UserError as error:
            say(f"{error}; the keys that were known go on to hold")

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def sent_with(headers: Mapping[bytes, bytes]) -> bytes:
    """The key that a client sent, if any; names of headers are in lower case."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    bearer = token.strip() if scheme.lower() == b"bearer" else b""
    return headers.get(b"x-api-key", bearer)


def whose(key: str, user: str | None) -> str:
    """A client's name: its key's, and behind it the one that `user` gives."""
    return f"{key}{BETWEEN}{user}"[:USER_CHARS] if key and user else user or key


def named(key: bytes) -> str:
    """A name for a key, which does not tell it; empty where there is none."""
    return hashlib.sha256(key).hexdigest()[:16] if key else ""
