"""Real runs, and what a simulation says of each of them that was fitted to the others.

    python experiments/prediction/predict.py OUT              runs all of RUNS (about seven minutes on two quiet cores)
    python experiments/prediction/predict.py OUT --quick      a few short ones, to see that it works
    python experiments/prediction/predict.py --records DIR…   records that are there already, from whatever machine

Writes `OUT/predictions.md` and `OUT/predictions.csv`: throughput, p50, p95 of each load level, measured and predicted.
A level is predicted from levels of the same engine in other runs, or with `--records` from all other levels given. What
lies around an engine (event loops, clients, late timers) is fitted to the other runs of all engines.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlsys.errors import UserError
from mlsys.record import Record, Scalar, find
from mlsys.virtual.fitting import of_levels
from mlsys.virtual.renewed import renewed
from mlsys.virtual.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ("throughput_rps", "e2e_ms.p50", "e2e_ms.p95")
COMMON = (
    "corpus=animals embedder=hashing device=cpu tracking=off loadtest.engine_ceiling=false "
    "loadtest.quality_questions=0 batching.linger_ms=5 batching.timeout_ms=0"
)
SIMULATED = "generator=simulated generator.base_ms=12 generator.per_request_ms=1 generator.max_new_tokens=16"
SMALL = "generator=random generator.shape=tiny generator.max_new_tokens=32"
POISSON = "loadtest=poisson loadtest.duration_s=10 loadtest.request_rate="
CLOSED = "loadtest=closed loadtest.duration_s=4 loadtest.concurrency="
RUNS = {
    "simulated-baseline": f"{SIMULATED} server=baseline {POISSON}[15,30]",
    "simulated-queue": f"{SIMULATED} server=queue {POISSON}[15,30]",
    "simulated-two-workers": f"{SIMULATED} server=queue server.workers=2 {POISSON}[60]",
    "simulated-batch": f"{SIMULATED} server=batch {POISSON}[50,150]",
    "simulated-small-batches": f"{SIMULATED} server=batch batching.max_size=4 {POISSON}[100]",
    "simulated-batch-sizes": f"{SIMULATED} server=batch {CLOSED}[2,16]",
    "simulated-batch-closed": f"{SIMULATED} server=batch {CLOSED}[1,8,24]",
    "simulated-continuous": f"{SIMULATED} server=continuous {POISSON}[30,100]",
    "simulated-continuous-sizes": f"{SIMULATED} server=continuous {CLOSED}[2,16]",
    "simulated-continuous-closed": f"{SIMULATED} server=continuous {CLOSED}[1,8,24]",
    "simulated-replicas": f"{SIMULATED} server=lb server.replicas=2 {POISSON}[80]",
    "simulated-three-replicas": f"{SIMULATED} server=lb server.replicas=3 balancer=least_in_flight {POISSON}[120]",
    "small-queue": f"{SMALL} server=queue {POISSON}[5,10]",
    "small-batch": f"{SMALL} server=batch {POISSON}[15]",
    "small-batch-sizes": f"{SMALL} server=batch {CLOSED}[1,2,8,16]",
    "small-batch-closed": f"{SMALL} server=batch {CLOSED}[1,4,12]",
    "small-continuous": f"{SMALL} server=continuous {POISSON}[15]",
    "small-continuous-sizes": f"{SMALL} server=continuous {CLOSED}[1,2,8,16]",
    "small-continuous-closed": f"{SMALL} server=continuous {CLOSED}[1,4,12]",
}
QUICK = ("simulated-queue", "simulated-batch-closed")
Source = tuple[Record, dict[str, Scalar]]


def measure(out: Path, names: Sequence[str], duration_s: float | None) -> None:
    """Run them one after the other. Raises CalledProcessError where one fails."""
    for name in names:
        words = f"{COMMON} {RUNS[name]}".split()
        if duration_s is not None:
            words = [word for word in words if "duration_s" not in word] + [
                f"loadtest.duration_s={duration_s}"
            ]
        command = [sys.executable, "run.py", *words, f"hydra.run.dir={out / name}"]
        subprocess.run(command, cwd=ROOT, check=True)


def steps(level: dict[str, Scalar]) -> bool:
    """Whether it was scheduled token by token."""
    return "step_ms.mean" in level


def predict(target: Source, others: Sequence[Source], also: Sequence[Source] = ()) -> dict[str, Any]:
    """One level: what was measured, and what the simulation says that is fitted to `others`, around them to `also`."""
    record, level = target
    config = of_levels(others, also=also).applied(renewed(record.config))
    load = "concurrency" if level.get("concurrency") else "request_rate"
    value = level.get("concurrency") or level.get("offered_rate_rps")
    longest = level.get("output_tokens.max")
    config["server"] = {**config["server"], "max_tokens": longest}
    config["loadtest"] = {**config["loadtest"], load: value, "stream": False, "slo": None, "repeats": 1}
    (found,) = simulate(config)
    row: dict[str, Any] = {"server": record.config["server"]["name"], "load": f"{load}={value:g}"}
    for name in FIGURES:
        measured, predicted = level[name], found.values[name]
        if isinstance(measured, float) and isinstance(predicted, float):
            row |= {
                f"{name} measured": measured,
                f"{name} predicted": predicted,
                f"{name} off": predicted / measured - 1,
            }
    return row


def table(runs: Sequence[tuple[Path, Record]], leave_out_run: bool) -> pd.DataFrame:
    """Each level of each run, predicted from levels of the same engine elsewhere."""
    rows = []
    for place, record in runs:
        for number, level in enumerate(record.levels):
            allowed = [
                (other, one)
                for where, other in runs
                for index, one in enumerate(other.levels)
                if (where != place if leave_out_run else (where, index) != (place, number))
            ]
            others = [
                (other, one)
                for other, one in allowed
                if steps(one) == steps(level)
                and other.config["generator"]["name"] == record.config["generator"]["name"]
            ]
            also = [one for one in allowed if one not in others]
            try:
                rows.append({"run": place.name} | predict((record, level), others, also))
            except UserError as error:
                print(f"{place.name}, level {number}: {error}", file=sys.stderr)
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame) -> str:
    """The median and the worst of all figures."""
    off = [
        (abs(float(row[f"{name} off"])), f"{row['run']} at {row['load']}, {name}")
        for row in found.to_dict("records")
        for name in FIGURES
    ]
    worst, where = max(off)
    middle = statistics.median(error for error, _ in off)
    return f"{len(found)} levels, {len(off)} figures: median error {middle:.1%}, worst {worst:.1%} ({where})"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=Path("outputs/prediction"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--records", type=Path, nargs="+")
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not chosen.records:
        measure(out, QUICK if chosen.quick else list(RUNS), 2.0 if chosen.quick else None)
    runs = [
        one for one in find(chosen.records or [out]) if one[1].status == "ok" and one[1].workload == "serving"
    ]
    found = table(runs, leave_out_run=not chosen.records)
    found.to_csv(out / "predictions.csv", index=False)
    lines = [" | ".join(map(str, found.columns)), " | ".join("---" for _ in found.columns)]
    lines += [
        " | ".join(f"{one:.4g}" if isinstance(one, float) else str(one) for one in row)
        for row in found.to_numpy()
    ]
    text = summary(found)
    (out / "predictions.md").write_text("\n".join(f"| {line} |" for line in lines) + f"\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
