"""A step that writes, by how many rows it has, torch's kernels and the fused ones in turn:

    python experiments/h100_serving/by_rows.py [shape,shape,...] [rows,rows,...] [context]

Writes $OUT/steps.json (or this folder's records/steps.json): of each the median ms, the fastest and slowest of `TIMES`,
and MBU: the weights and the keys and values of `context` tokens a row, over what the card's memory could have moved.
`draw.py` makes a picture of it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import triton

sys.path.insert(0, str(Path(__file__).parent))
from step import RATES, TIMES, network, step, timed

from mlsys.rag.generator.graphs import _fuse_norms
from mlsys.rag.generator.kv_cache import heads

OUT = Path(os.environ.get("OUT", Path(__file__).parent / "records"))
REPLAYS = 20
SHAPES, ROWS = "smollm2-135m,llama-3.2-1b", "1,2,4,8,16,32,64,128,256"


def steps(shape: str, sizes: list[int], context: int) -> Iterator[dict[str, Any]]:
    """One entry for each size and each kind of kernels."""
    model = network(shape, torch.bfloat16)
    _fuse_norms(model)
    weights = sum(each.nbytes for each in model.parameters())
    card = torch.cuda.get_device_name()
    rate = next(rate for name, rate in RATES.items() if name in card)
    for rows in sizes:
        steps = {name: step(model, rows, context, name == "fused") for name in ("torch", "fused")}
        took: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(TIMES):
            for name, made in steps.items():
                took[name].append(timed(made._run, REPLAYS))
        moved = weights + rows * context * heads(model).token_bytes
        for name, times in took.items():
            middle = statistics.median(times)
            found = {"latency_ms": middle, "latency_ms_min": min(times), "latency_ms_max": max(times)}
            yield {
                "shape": shape,
                "kernels": name,
                "rows": rows,
                **found,
                "mbu": moved / (middle / 1e3) / rate,
            }


def main() -> None:
    shapes, rows, context = (*sys.argv[1:], *(SHAPES, ROWS, "256")[len(sys.argv) - 1 :])
    record: dict[str, Any] = {
        "command": ["by_rows.py", shapes, rows, context],
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "finished_at": "",
        "context": int(context),
        "steps": [],
    }
    with torch.inference_mode():
        for shape in shapes.split(","):
            for found in steps(shape, [int(each) for each in rows.split(",")], int(context)):
                record["steps"].append(found)
                print(found, flush=True)
                record["finished_at"] = datetime.now(UTC).isoformat(timespec="seconds")
                (OUT / "steps.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
