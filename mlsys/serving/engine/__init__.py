"""`server.engine_process=true`: one process for HTTP and one for the engine; neither waits for the other's lock.

Python runs one thread at a time in a process. Where the engine's steps take a millisecond, parsing requests and
writing events takes that lock from the thread that launches the next step. Here HTTP, JSON and the clients are in the
process that was started (`remote`), policies, scheduler, models and their text in a child of it (`host`), and between
them is one socket (`frames`, `messages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsys.environment import visible_gpus
from mlsys.quantities import cores
from mlsys.serving.modes import Service
from mlsys.serving.options import Server

LEAST_CORES = 4


def wanted(options: Server, config: Mapping[str, Any]) -> bool:
    """Whether `options` ask for it: where they leave it open, it is worth it with a GPU's steps and cores to spare."""
    if options.starts_replicas:  # each replica has its own
        return False
    if options.engine_process is not None:
        return options.engine_process
    decodes = "compile" in config["generator"]
    on_gpu = decodes and config["device"] != "cpu" and bool(visible_gpus())
    return on_gpu and options.name == "continuous" and cores() >= LEAST_CORES


def service(options: Server, config: Path) -> Service:
    """The service of the process of HTTP; the engine's is started with the same file, its output beside it."""
    from mlsys.serving.engine.child import EngineProcess
    from mlsys.serving.engine.remote import Remote

    log = config.resolve().parent / f"{options.label or 'service'}.engine.log"
    return Remote(options, EngineProcess(config, log))
