"""`python -m mlsys.serving.engine CONFIG.yaml FD`: the engine of a service, asked over the socket with that number.

Started by `mlsys.serving.engine.child`, never by hand. A mistake in the configuration is one line and exit status 2.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from pathlib import Path
from types import FrameType

from mlsys import interrupts
from mlsys.errors import UserError
from mlsys.faults import wall_clock
from mlsys.quantities import limit_threads
from mlsys.serving import starting
from mlsys.serving.event_loop import SWITCH_S, new


def main(arguments: list[str]) -> int:
    """Serve; returns the exit status, and does not return where threads must be abandoned."""
    path, descriptor = Path(arguments[0]), int(arguments[1])
    return starting.reported(lambda: _serve(path, socket.socket(fileno=descriptor)))


def _serve(path: Path, end: socket.socket) -> int:
    mode, config = starting.checked(path)
    wall_clock.install(mode.label)
    limit_threads(mode.threads)
    from mlsys.serving import parts
    from mlsys.serving.engine.host import Host
    from mlsys.serving.pipeline_service import PipelineService

    service = mode.service(parts.of(config, path.resolve().parent))
    if not isinstance(service, PipelineService):
        raise UserError(f"server.engine_process=true: server={mode.name} has no engine in its own process")
    sys.setswitchinterval(SWITCH_S)

    async def run() -> bool:
        return await Host(service).run(end, _settled)

    with asyncio.Runner(loop_factory=new) as runner:
        if not runner.run(run()):
            os._exit(1)  # threads may still run; who asked is gone, or has given up
    return 0


def _pass_on(parent: int) -> interrupts.Handler:
    """A stop is the service's, whichever of its processes gets it: the parent ends it in order."""

    def passed_on(number: int, frame: FrameType | None) -> None:
        if os.getppid() == parent:
            os.kill(parent, number)

    return passed_on


def _settled() -> None:
    """Models and libraries stay: no collection need look at them while requests wait."""
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    interrupts.take(_pass_on(os.getppid()))
    sys.exit(main(sys.argv[1:]))
