"""Another server's address as the user wrote it."""

from __future__ import annotations

from urllib.parse import urlsplit

from mlsys.errors import UserError


def read(option: str, url: str | None, usual_path: str = "") -> str:
    """The address that paths are appended to; `usual_path` where it has none. Raises UserError."""
    example = f"http://127.0.0.1:8000{usual_path}"
    if not url:
        raise UserError(f"{option} is missing: give an address such as {example}")
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise UserError(f"{option}={url} is not an address such as {example}")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"{option} holds a password: name a variable that has it, with api_key=env:NAME")
    if parts.query or parts.fragment:
        raise UserError(f"{option}={url} must end with its path")
    path = parts.path.rstrip("/") or usual_path
    return f"{parts.scheme}://{parts.netloc}{path}"


def root(base: str) -> str:
    """The address without its path."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}"
