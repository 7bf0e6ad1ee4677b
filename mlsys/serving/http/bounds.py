"""How many connections a server process may hold open and how long it listens to one request.

Each connection is an open file, and a process that has none left serves nobody.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from mlsys.serving.options import Server

SPARE_FILES = 64  # for models, logs and libraries


@dataclass(frozen=True)
class Bounds:
    """Seconds for a request to arrive, and how many connections may be open."""

    receive_s: float
    connections: int


def of(options: Server) -> Bounds:
    """What `server.receive_timeout_s` and `server.max_connections` say, and the open-file limit allows.

    The soft limit is raised to the hard one. A balancer needs two files for a client: its connection and the
    call to a replica.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = options.max_connections
    if hard != resource.RLIM_INFINITY:
        files = max(hard - SPARE_FILES, hard // 2)
        most = min(most, files // options.files_per_client)
    return Bounds(options.receive_timeout_s, max(1, most))
