"""One of several client processes: `python -m mlsys.loadtest.client_process loadtest.json INDEX FIRST_TASK`.

Prints a JSON object a line: `ready`, and for each task `answered` now and then, `measured` once all of its measured
requests are answered, and `done` when its rows are written. It ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from mlsys.loadtest import rows
from mlsys.loadtest.__main__ import allow_connections, asking, say
from mlsys.loadtest.clients import FOLDER, POLL_S, Task, released
from mlsys.loadtest.generator import Generator
from mlsys.loadtest.phases import Phases
from mlsys.loadtest.share import Share
from mlsys.loadtest.spec import Spec


async def main(path: Path, index: int, first: int) -> None:
    """Do each task that this process has a share in."""
    allow_connections()
    spec = Spec.read(path)
    folder = path.parent / FOLDER
    async with asking(spec) as client:
        generator = Generator(spec, client, say)
        say("ready")
        for number in count(first):
            while (task := Task.read(folder, number)) is None:
                await asyncio.sleep(POLL_S)
            if index < task.of:
                await _do(generator, task, Share(index, task.of), folder)


async def _do(generator: Generator, task: Task, share: Share, folder: Path) -> None:
    generator.arrivals.tried = task.index
    held = generator.phases(task.level, share, turn=task.turn)
    watching = asyncio.create_task(_watch(held, released(folder, task.number)))
    done = await generator.share(task.index, task.level, task.turn, share, held, task.begin_s)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    rows.write(folder / str(share.index), share.numbered(done.rows))
    generator.progress.flush()
    say("done", lags_ms=done.watch.lags_ms, cpu_share=done.watch.cpu_share)


async def _watch(phases: Phases, release: Path) -> None:
    """Say that all is measured; keep the load up until it is for all."""
    while not phases.measured:
        await asyncio.sleep(POLL_S)
    say("measured")
    while not release.exists():
        await asyncio.sleep(POLL_S)
    phases.held = False


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
