"""The load generator's process: `python -m mlsys.loadtest loadtest.json`. Prints one JSON object a line.

`begin` before each repeat of a level, `answered` a few times a second, `level` with a finished level's values
and samples, `end` with what is said of all levels together. `requests.parquet` is written after each level.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mlsys.errors import MISUSE, UserError
from mlsys.loadtest import apis
from mlsys.loadtest.client import Client, bearer
from mlsys.loadtest.clients import Clients
from mlsys.loadtest.generator import Generator
from mlsys.loadtest.options import Load
from mlsys.loadtest.scraping.scraper import Scraper
from mlsys.loadtest.spec import KEY_VARIABLE, Spec


def say(event: str, **content: Any) -> None:
    """One event on standard output."""
    print(json.dumps({"event": event, **content}), flush=True)


def allow_connections() -> None:
    """Raise this process's limit of open sockets to what the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a system that allows fewer than it says: the limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def asking(spec: Spec) -> Client:
    """What asks the service of a specification."""
    load = Load(**spec.load)
    stall_s = load.stall_s if load.stream else None
    limits = load.timeout_s, spec.expected_tokens, stall_s
    headers = bearer(os.environ.get(KEY_VARIABLE), spec.server.get("key_header"))
    return Client(spec.url, headers, load.k, *limits, apis.make(spec.server), spec.certificate)


async def main(path: Path, spec: Spec) -> None:
    """Send the load of a specification, which `path` holds."""
    allow_connections()
    async with asking(spec) as client, Clients(path) as clients:
        scraper = partial(Scraper, client, spec.url) if spec.server else None  # a stranger's
        await Generator(spec, client, say, scraper=scraper, clients=clients).run()


def typed(arguments: list[str]) -> int:
    """The exit status of the command; a mistake is one line."""
    if len(arguments) != 1:
        print("usage: python -m mlsys.loadtest RUN/loadtest.json", file=sys.stderr)
        return MISUSE
    path = Path(arguments[0])
    try:
        spec = Spec.read(path)
    except UserError as error:
        print(error, file=sys.stderr)
        return MISUSE
    asyncio.run(main(path, spec))
    return 0


if __name__ == "__main__":
    sys.exit(typed(sys.argv[1:]))
