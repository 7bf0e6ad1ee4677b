"""Whether the W&B server can be used, found out before anything is measured and within a stated time."""

from __future__ import annotations

import http.client
import json
import netrc
import os
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from mlsys.errors import UserError

VIEWER = "query Viewer { viewer { id username entity } }"


def check_server(timeout_s: float) -> str:
    """The name of the account that the key belongs to. Raises UserError as `ask` does."""
    viewer = ask(VIEWER, {}, timeout_s).get("viewer")
    if not viewer:
        raise UserError("tracking=online: the W&B server does not know the key")
    return str(viewer.get("entity") or viewer.get("username"))


def ask(query: str, variables: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The server's answer to a GraphQL query, within `timeout_s` in all.

    Raises UserError: no key, a key that is refused, a server that does not answer. The question is put by
    hand, since the client itself waits and retries for minutes.
    """
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb

    settings = wandb.setup().settings
    address, key = settings.base_url.rstrip("/"), settings.api_key or find_key(settings.base_url)
    if not key:
        raise UserError(
            "tracking=online needs a W&B key: `wandb login`, or WANDB_API_KEY; tracking=offline needs none"
        )
    answers: list[dict[str, Any] | UserError] = []
    body = json.dumps({"query": query, "variables": variables}).encode()
    thread = threading.Thread(target=lambda: answers.append(_ask(address, key, body, timeout_s)), daemon=True)
    thread.start()
    thread.join(timeout_s)  # looking up a name has no time-out of its own
    answer = answers[0] if answers else _unreachable(address, f"no answer in {timeout_s:g} s")
    if isinstance(answer, UserError):
        raise answer
    return answer


def find_key(address: str) -> str | None:
    """The key from WANDB_API_KEY, or where `wandb login` left it (netrc); None where there is none."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    for path in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            file = netrc.netrc(os.path.expanduser(path)) if path else None
        except (OSError, netrc.NetrcParseError):
            continue
        found = file.authenticators(urlsplit(address).hostname or "") if file else None
        if found and found[2]:
            return found[2]
    return None


def _ask(address: str, key: str, body: bytes, timeout_s: float) -> dict[str, Any] | UserError:
    authorization = "Basic " + b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "User-Agent": "mlsys", "Authorization": authorization}
    try:
        request = urllib.request.Request(f"{address}/graphql", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return dict(json.load(answer).get("data") or {})
    except urllib.error.HTTPError as error:
        said = "refuses the key" if error.code in {401, 403} else f"answers {error.code}"
        return UserError(f"tracking=online: the W&B server at {address} {said}")
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        return _unreachable(address, str(getattr(error, "reason", error)))


def _unreachable(address: str, why: str) -> UserError:
    words = " ".join(why.split())[:200]
    return UserError(f"tracking=online: no W&B server at {address}: {words}; tracking=offline needs none")
