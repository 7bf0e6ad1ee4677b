"""`python -m mlsys.export RECORD… --format aiperf|vllm`: load levels as the JSON of AIPerf or of vLLM's `bench serve`.

One file for each level, in `export/FORMAT/` beside the record or below `--out`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsys import formats
from mlsys.errors import UserError, command
from mlsys.files import replace
from mlsys.formats.aiperf import FILE_NAME as AIPERF
from mlsys.loadtest.rows import FILE_NAME as REQUESTS
from mlsys.record import Record
from mlsys.report.__main__ import gather


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for a mistake."""
    asked = _parser().parse_args(words)
    return command(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlsys.export", description=(__doc__ or "").split("\n\n")[0]
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="RECORD", help="record.json files, or directories of runs")
    add("--format", required=True, choices=formats.NAMES, help="whose JSON is written")
    add("--out", type=Path, help="where it goes (beside each record: export/FORMAT)")
    add("--detailed", action="store_true", help="vllm: with a list entry for each request")
    return parser


def _run(asked: argparse.Namespace) -> int:
    for path in _export(asked):
        print(path)
    return 0


def _export(asked: argparse.Namespace) -> list[Path]:
    runs = [(place, entry) for place, entry in gather(asked.paths) if entry.workload == "serving"]
    if not runs:
        raise UserError(f"no serving record in {', '.join(map(str, asked.paths))}")
    made = list[Path]()
    for place, entry in runs:
        home = asked.out or place / "export" / asked.format
        if asked.out and len(runs) > 1:
            home = asked.out / place.name
        made += _levels(place, entry, home, asked)
    return made


def _levels(place: Path, entry: Record, home: Path, asked: argparse.Namespace) -> list[Path]:
    import pandas as pd

    if not (place / REQUESTS).is_file():
        raise UserError(f"{place} has no {REQUESTS}: others count from the sending of each request")
    requests = pd.read_parquet(place / REQUESTS)
    made = list[Path]()
    for index, values in enumerate(entry.levels):
        content = formats.written(asked.format, entry, index, requests, asked.detailed)
        path = home / _name(values, index)
        path = path / AIPERF if asked.format == "aiperf" else path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        made.append(replace(path, json.dumps(content, indent=1, allow_nan=False) + "\n"))
    return made


def _name(values: dict[str, Any], index: int) -> str:
    clients, rate = values.get("concurrency"), values.get("offered_rate_rps")
    what = f"concurrency{clients}" if clients is not None else f"{rate:g}qps" if rate is not None else "level"
    return f"{index}-{what}"


if __name__ == "__main__":
    sys.exit(main())
