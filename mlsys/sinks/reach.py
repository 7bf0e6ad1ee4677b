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
from urllib.parse import urlsplit

from mlsys.errors import UserError

QUERY = {"query": "query Viewer { viewer { id username entity } }"}


def check_server(timeout_s: float) -> str:
    """The name of the account that the key belongs to, within `timeout_s` in all.

    Raises UserError: no key, a key that is refused, a server that does not answer. The question is put by hand, since
    the client itself waits and retries for minutes.
    """
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb

    settings = wandb.setup().settings
    address, key = settings.base_url.rstrip("/"), settings.api_key or find_key(settings.base_url)
    if not key:
        raise UserError(
            "tracking=online needs a W&B key: `wandb login`, or WANDB_API_KEY; tracking=offline needs none"
        )
    answers: list[str | UserError] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(address, key, timeout_s)), daemon=True)
    thread.start()
    thread.join(timeout_s)  # looking up a name has no time-out of its own
    answer = answers[0] if answers else _unreachable(address, f"no answer in {timeout_s:g} s")
    if isinstance(answer, UserError):
        raise answer
    return answer


def find_key(address: str) -> str | None:
    """The key from WANDB_API_KEY, or where `wandb login` left it (the netrc file); None where there is none."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    for path in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            found = (
                netrc.netrc(os.path.expanduser(path)).authenticators(urlsplit(address).hostname or "")
                if path
                else None
            )
        except (OSError, netrc.NetrcParseError):
            continue
        if found and found[2]:
            return found[2]
    return None


def _ask(address: str, key: str, timeout_s: float) -> str | UserError:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps(QUERY).encode(),
        headers={
            "Content-Type": "application/json",
            "User-Agent": "mlsys",
            "Authorization": "Basic " + b64encode(f"api:{key}".encode()).decode(),
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            viewer = (json.load(answer).get("data") or {}).get("viewer")
    except urllib.error.HTTPError as error:
        refused = error.code in {401, 403}
        return UserError(
            f"tracking=online: the W&B server at {address} {'refuses the key' if refused else f'answers {error.code}'}"
        )
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        return _unreachable(address, str(getattr(error, "reason", error)))
    if not viewer:
        return UserError(f"tracking=online: the W&B server at {address} does not know the key")
    return str(viewer.get("entity") or viewer.get("username"))


def _unreachable(address: str, why: str) -> UserError:
    words = " ".join(why.split())[:200]
    return UserError(f"tracking=online: no W&B server at {address}: {words}; tracking=offline needs none")
