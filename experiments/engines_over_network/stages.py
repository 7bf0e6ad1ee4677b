"""A service whose generator is an engine at an address, over each store in turn: where an answer's time goes.

    python experiments/engines_over_network/stages.py [--stores exact,faiss] [--engine …] [overrides as for run.py]

Starts the engine, sweeps the stores at 1 and 20 clients, prints the table of stages and writes it into the directory.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import ROOT, process, started

STORES = "exact,faiss,usearch,sqlite_vec,qdrant,lancedb,bm25,hybrid"
ENGINE = "server=continuous generator=simulated embedder=hashing corpus=animals"
STAGES = ("queue", "embed", "retrieve", "prompt", "prefill", "decode", "respond")
HEAD = (
    "store",
    "clients",
    "requests/s",
    "p50 ms",
    "p95 ms",
    "TTFT p50 ms",
    *(f"{s} ms" for s in STAGES),
    "ok",
)


def rows(directory: Path) -> list[tuple[str, ...]]:
    """One of each level of each record, in the order of the runs."""
    found = []
    for path in sorted(directory.rglob("record.json"), key=lambda path: path.stat().st_mtime):
        content = json.loads(path.read_text())
        found += [row(content["config"]["retriever"]["name"], level) for level in content["levels"]]
    return found


def row(store: str, level: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    names = (
        "throughput_rps",
        "e2e_ms.p50",
        "e2e_ms.p95",
        "ttft_ms.p50",
        *(f"stage_ms.{s}.p50" for s in STAGES),
    )
    figures = (f"{value:.3g}" if (value := level.get(name)) is not None else "–" for name in names)
    return (store, str(level["concurrency"]), *figures, f"{level['succeeded']}/{level['requests']}")


def table(lines: list[tuple[str, ...]]) -> str:
    """Markdown."""
    written = [HEAD, ("---",) * len(HEAD), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in written)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stores", default=STORES)
    parser.add_argument("--engine", default=ENGINE, help="the engine, as for run.py")
    parser.add_argument("--directory", type=Path, default=Path("outputs/engines_over_network"))
    given, overrides = parser.parse_known_args()
    directory = given.directory.resolve()
    engine = process(directory, "engine", *shlex.split(given.engine))
    try:
        url = started(engine)
        name = next(word.partition("=")[2] for word in given.engine.split() if word.startswith("generator="))
        line = [
            sys.executable, "run.py", "-m", "server=continuous", "generator=openai", f"generator.url={url}",
            f"generator.model={name}", f"retriever={given.stores}", "loadtest.concurrency=[1,20]",
            "loadtest.stream=true", "loadtest.engine_ceiling=false",
            "loadtest.quality_questions=0",  # recall is in experiments/stores
            f"hydra.sweep.dir={directory}/sweep",
            *overrides,
        ]  # fmt: skip
        subprocess.run(line, cwd=ROOT, check=True)
    finally:
        engine.terminate(10)
    text = table(rows(directory / "sweep"))
    (directory / "stages.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
