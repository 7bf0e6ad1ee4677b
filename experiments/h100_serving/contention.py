"""Does the record say so when the processor is what is missing? One load, alone and beside processes that only count:

    python experiments/h100_serving/contention.py [--busy 4] server=continuous loadtest.concurrency=4 [overrides]

One service is measured in levels of the same load: alone, beside so many busy processes, alone again, and so on for
each number of `--busy 16,64`. The busy processes are there all the time and are only stopped and continued. Where there
is a GPU the same step of the decoder is then timed by the GPU's own clock, alone and beside the most of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlsys.device import resolve
from mlsys.loadtest.children import environment
from mlsys.serving.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
COUNT = [sys.executable, "-I", "-S", "-c", "while True: pass"]
SETTINGS = {
    "loadtest.engine_ceiling": "false",
    "loadtest.quality_questions": 0,
    "tracking": "off",
}
SHOWN = (
    "throughput_rps",
    "step_ms.mean",
    "decode.mbu",
    "decode.bound",
    "decode.busy_share",
    "decode.delayed_share",
)
HEAD = ("busy processes", "requests/s", "step ms", "MBU", "bound", "busy", "delayed")
POLL_S, LONGEST_S = 0.05, 1500.0
ROWS, CONTEXT, TIMES, CYCLES = 32, 256, 30, 200_000_000


class Busy:
    """Processes that count, stopped until they are wanted."""

    def __init__(self, most: int, logs: Path) -> None:
        self._processes = [ChildProcess(COUNT, None, logs / f"busy-{i}.log") for i in range(most)]

    def __enter__(self) -> Busy:
        for process in self._processes:
            process.start()
        time.sleep(1.0)  # what they begin as, sets their signals
        self.run(0)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()

    def run(self, count: int) -> None:
        """So many of them, and the others stop."""
        for number, process in enumerate(self._processes):
            process.signal(signal.SIGCONT if number < count else signal.SIGSTOP)


def levels(record: Path, process: ChildProcess, count: int) -> Iterator[dict[str, Any]]:
    """Each level of a run as soon as its record has it."""
    told, until = 0, time.monotonic() + LONGEST_S
    while told < count:
        found = json.loads(record.read_text())["levels"] if record.exists() else []
        for level in found[told:]:
            told += 1
            yield level
        if told < count and (not process.alive or time.monotonic() > until):
            raise SystemExit(f"the run has ended early: {process.log.read_text()[-2000:]}")
        time.sleep(POLL_S)


def served(overrides: list[str], plan: list[int], busy: Busy, folder: Path) -> list[dict[str, Any]]:
    """The levels' values, beside as many busy processes as the plan says of each."""
    clients = next(
        (one.partition("=")[2] for one in overrides if one.startswith("loadtest.concurrency=")), "4"
    )
    words = [one for one in overrides if not one.startswith("loadtest.concurrency=")]
    words += [f"loadtest.concurrency=[{','.join([clients] * len(plan))}]", f"hydra.run.dir={folder}"]
    line = [sys.executable, "run.py", *(f"{knob}={value}" for knob, value in SETTINGS.items()), *words]
    found = []
    with ChildProcess(line, environment(), folder / "run.log") as process:
        for level in levels(folder / "record.json", process, len(plan)):
            found.append(level)
            busy.run(plan[len(found)] if len(found) < len(plan) else 0)
            print(
                f"beside {plan[len(found) - 1]}: {json.dumps({name: level.get(name) for name in SHOWN})}",
                flush=True,
            )
        process.wait(LONGEST_S)
    return found


def device_steps(busy: Busy, counts: list[int]) -> None:
    """One recorded step by the GPU's clock, and by the clock on the wall with its launch and its tokens' way back."""
    import torch
    from step import network, step

    with torch.inference_mode():
        made = step(network("smollm2-135m", torch.bfloat16), ROWS, CONTEXT, True)
        for count in counts:
            busy.run(count)
            ends = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(TIMES)]
            torch.cuda._sleep(CYCLES)  # all is launched before the first begins: no launch is waited for
            for start, end in ends:
                start.record()
                made._run()
                end.record()
            torch.cuda.synchronize()
            walls = []
            for _ in range(TIMES):
                began = time.perf_counter()
                made.run(range(ROWS), [CONTEXT - 1] * ROWS, [])
                made.found.tolist()
                walls.append(1e3 * (time.perf_counter() - began))
            device = statistics.median(start.elapsed_time(end) for start, end in ends)
            print(
                f"a step of {ROWS} beside {count}: {device:.3f} ms on the GPU, {statistics.fmean(walls):.3f} ms with "
                f"its launch (the longest {max(walls):.3f})",
                flush=True,
            )


def table(plan: list[int], found: list[dict[str, Any]]) -> str:
    """Markdown: one line for each level."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for count, level in zip(plan, found, strict=True):
        values = [level.get(name) for name in SHOWN]
        lines.append((str(count), *(f"{one:.3g}" if isinstance(one, float) else str(one) for one in values)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@contextmanager
def place() -> Iterator[Path]:
    """$OUT, or a folder that is removed."""
    if "OUT" in os.environ:
        yield Path(os.environ["OUT"]) / "contention"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--busy", default=str(2 * cores), help="how many processes; several with commas")
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    given = parser.parse_args()
    counts = [int(count) for count in given.busy.split(",")]
    plan = [0, *(each for count in counts for each in (count, 0))]
    with ExitStack() as stack:
        folder = stack.enter_context(place())
        busy = stack.enter_context(Busy(max(plan), folder))
        print(f"{cores} cores", flush=True)
        found = served(given.overrides or ["server=continuous"], plan, busy, folder)
        print(table(plan, found), flush=True)
        if resolve("auto").type == "cuda":
            device_steps(busy, [0, max(counts), 0])


if __name__ == "__main__":
    main()
