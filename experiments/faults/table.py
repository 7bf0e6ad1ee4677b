"""The tables of `measure.sh`: the matrix of faults and modes, and goodput against what was offered.

python experiments/faults/table.py DIRECTORY
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mlsys import record
from mlsys.record import Record, Scalar

MATRIX: tuple[str, ...] = (
    "fault.lost",
    "fault.refused",
    "fault.noticed_s",
    "fault.whole_s",
    "e2e_ms.p50",
    "e2e_ms.p99",
    "e2e_ms.max",
)
MATRIX += ("fault.before_rps", "fault.worst_second_rps")
OVERLOAD = ("offered_rate_rps", "goodput_rps", "e2e_ms.p99", "rejected", "service.cpu_ms", "drift.memory_mib")


def main() -> None:
    directory = Path(sys.argv[1])
    runs = [entry for _, entry in record.find([directory / "matrix"])]
    rows = [
        [_of(run, "server"), _of(run, "fault"), *_cells(run.levels[0], MATRIX)] for run in runs if run.levels
    ]
    _print(["server", "fault", *MATRIX], sorted(rows, key=lambda row: (row[0], row[1])))
    for _, run in record.find([directory / "overload"]):
        _print(list(OVERLOAD), [_cells(level, OVERLOAD) for level in run.levels])
        print(_rejection(run))


def _of(run: Record, group: str) -> str:
    return str(run.config[group]["name"])


def _cells(level: dict[str, Scalar], names: Sequence[str]) -> list[str]:
    values = [level.get(name) for name in names]
    return [f"{value:.4g}" if isinstance(value, (int, float)) else "" for value in values]


def _rejection(run: Record) -> str:
    """CPU time of a refusal: that of the last level beyond what its answers cost in the first, which refuses few."""
    first, last = run.levels[0], run.levels[-1]
    named = ("service.cpu_ms", "requests", "succeeded", "rejected")
    (cpu, _, _, _), (all_cpu, sent, answered, refused) = (
        [float(one[name] or 0) for name in named] for one in (first, last)
    )
    return f"\nCPU time of a refusal: {(all_cpu * sent - cpu * answered) / max(refused, 1):.2f} ms\n"


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


if __name__ == "__main__":
    main()
