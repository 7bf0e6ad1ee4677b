"""The table of this experiment from its records: `python experiments/h100_search/table.py DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from mlsys import record

COLUMNS = ("latency_ms", "wall_ms", "baseline.torch_matmul_topk.latency_ms", "baseline.torch_matmul.latency_ms",
           "baseline.torch_cdist_topk.latency_ms", "speedup.torch_matmul_topk", "speedup.torch_cdist_topk",
           "baseline.torch_matmul_topk.recall", "recall", "doubtful_queries", "bound", "bound_share")  # fmt: skip
CONDITIONS = ("metric", "storage", "queries", "placement")


def shown(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    print("| " + " | ".join(CONDITIONS + COLUMNS) + " |")
    print("|---" * (len(CONDITIONS) + len(COLUMNS)) + "|")
    for _, found in record.find([Path(sys.argv[1])]):
        values = {**found.results, "metric": found.config["metric"]["name"]}
        cells = [shown(values.get(name)) for name in CONDITIONS + COLUMNS]
        print("| " + " | ".join(cells) + " |" + (f" {found.error}" if found.error else ""))


if __name__ == "__main__":
    main()
