"""Tables of cuts beside each other, as multiples of the fastest cut at each size.

    cuts.py OUT.json [1e6,1e8,1e9]    on a GPU, in turn: cold device times, medians
    cuts.py TUNE.jsonl                what `experiment=tune` has measured of them; an H200's if its name says so

The table of each card that was measured, the model for those that were not, and the plain guess that stood in its place
before.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from mlsys.distance import plan, tuning_model, tuning_table
from mlsys.distance.reductions.single_pass import SinglePass
from mlsys.distance.tuning_model import Card, Settings
from mlsys.timing import Clock

DEVICE = torch.device("cuda", 0)
GUESS = ((65536, Settings(4096, 1, 4)), (2**24, Settings(16384, 1, 8)), (None, Settings(32768, 4, 8)))
KINDS = [(torch.float32, "l2", 1), (torch.float32, "cosine", 3), (torch.bfloat16, "l2", 1)]


def cuts(card: Card, size: int, itemsize: int, sums: int) -> dict[str, Settings]:
    """The cut of each table for vectors of `size` bytes."""
    tables: dict[str, Any] = json.loads(tuning_table.SHIPPED.read_text())
    found = {}
    for name, table in tables.items():
        if "architecture" in table:
            found[name] = tuning_table.chosen(table, size, itemsize, sums)
    found["model"] = tuning_model.settings(card, size)
    found["guess"] = next(cut for limit, cut in GUESS if limit is None or size <= limit)
    return found


def measured(n: int, dtype: torch.dtype, metric: str, sums: int) -> dict[str, Any]:
    """One size's medians in µs. Cuts that are the same are timed once."""
    x, y = (torch.randn(n, device=DEVICE).to(dtype) for _ in range(2))
    wanted = cuts(tuning_model.card(DEVICE), x.nbytes, dtype.itemsize, sums)
    calls = {str(cut): plan(x, y, metric, SinglePass(**vars(cut))) for cut in wanted.values()}
    times = Clock(DEVICE, 60, 3, 2.0, 2 * x.nbytes).cold(calls)
    middle = {name: times[str(cut)].median_ms for name, cut in wanted.items()}
    best = min(middle.values())
    return {
        "n": n, "dtype": str(dtype).removeprefix("torch."), "metric": metric,
        "us": {name: round(1e3 * took, 2) for name, took in middle.items()},
        "times_the_fastest": {name: round(took / best, 4) for name, took in middle.items()},
        "cuts": {name: list(vars(cut).values()) for name, cut in wanted.items()},
    }  # fmt: skip


def judged(path: Path) -> None:
    """Tells each size of a tuning run, and at the end each table's mean and worst from 1e5 elements on."""
    times: dict[tuple[int, str, str], dict[tuple[int, ...], float]] = {}
    for row in map(json.loads, path.read_text().splitlines()):
        if "tile_bytes" in row:
            cut = row["tile_bytes"], row["tiles"], row["warps"], row["stages"]
            times.setdefault((row["n"], row["dtype"], row["metric"]), {})[cut] = row["latency_ms"]
    card = Card(132, 4800.0 if "h200" in path.name else 3350.0)
    every: dict[str, list[float]] = {}
    for (n, dtype, metric), found in times.items():
        itemsize = getattr(torch, dtype).itemsize
        wanted = cuts(card, n * itemsize, itemsize, 1 if metric == "l2" else 3)
        shares = {}
        for name, cut in wanted.items():
            took = found.get((cut.tile_bytes, cut.tiles, cut.warps, cut.stages))
            shares[name] = None if took is None else round(took / min(found.values()), 3)
            if took is not None and n >= 10**5:
                every.setdefault(name, []).append(took / min(found.values()))
        print(f"{n:.0e} {dtype} {metric}", shares)
    for name, ratios in every.items():
        print(f"{name}: mean {sum(ratios) / len(ratios):.3f}, worst {max(ratios):.3f} of {len(ratios)}")


def main() -> None:
    if sys.argv[1].endswith(".jsonl"):
        judged(Path(sys.argv[1]))
        return
    sizes = [int(float(size)) for size in (sys.argv[2] if len(sys.argv) > 2 else "1e6,1e8,1e9").split(",")]
    found: list[dict[str, Any]] = []
    print(torch.cuda.get_device_name(), torch.__version__, tuning_table.origin(DEVICE))
    for n in sizes:
        for kind in KINDS:
            found.append(measured(n, *kind))
            line = found[-1]
            print(
                f"{n:.0e} {line['dtype']} {line['metric']}", line["us"], line["times_the_fastest"], flush=True
            )
            Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
