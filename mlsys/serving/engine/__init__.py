"""`server.engine_process=true`: one process for HTTP and one for the engine; neither waits for the other's lock.

Python runs one thread at a time in a process. Where the engine's steps take a millisecond, parsing requests and
writing events takes that lock from the thread that launches the next step. Here HTTP, JSON and the clients are in the
process that was started (`remote`), policies, scheduler, models and their text in a child of it (`host`), and between
them is one socket (`frames`, `messages`).
"""

from __future__ import annotations

from pathlib import Path

from mlsys.serving.modes import Service
from mlsys.serving.options import Server


def service(options: Server, config: Path) -> Service:
    """The service of the process of HTTP; the engine's is started with the same file, its output beside it."""
    from mlsys.serving.engine.child import EngineProcess
    from mlsys.serving.engine.remote import Remote

    log = config.resolve().parent / f"{options.label or 'service'}.engine.log"
    return Remote(options, EngineProcess(config, log))
