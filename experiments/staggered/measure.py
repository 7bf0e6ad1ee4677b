"""Batches that begin in turn, and a limit that is kept: predicted, simulated and measured on the simulated engine.

python experiments/staggered/measure.py [--clock real|virtual] [--requests 1500] [--out DIR]

A batch of b takes 420 + 20·b ms and the limit is 2 s: twenty times the costs of the prediction (21 + b ms, 100 ms), so
that two cores carry four replicas and their balancer. Rates are those of the prediction over twenty.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlsys import record as records
from mlsys.loadtest.certify.capacity import Capacity, Tried, capacity

BASE_MS, EACH_MS, LIMIT_MS, REPLICAS = 420.0, 20.0, 2000.0, 4
SHARE = 0.99  # of the requests within the limit: where it holds
AROUND = (0.85, 0.92, 0.98, 1.04, 1.1)  # times the predicted rate
ENGINE = [
    "corpus=animals", "embedder=hashing", "generator=simulated", f"generator.base_ms={BASE_MS}",
    f"generator.per_request_ms={EACH_MS}", "generator.per_token_ms=0", "generator.max_new_tokens=1", "device=cpu",
    "tracking=off", "loadtest=constant", f"loadtest.slo_ms={LIMIT_MS}", "loadtest.engine_ceiling=false",
    "loadtest.quality_questions=0", "batching.max_size=128", "server.max_queue=2000",
]  # fmt: skip
SLOT_MS = LIMIT_MS / (REPLICAS + 1)
LB = ["server=lb", f"server.replicas={REPLICAS}", "server.replica=batch"]
AT_ONCE = ["batching=hybrid", "batching.timeout_ms=0", "batching.linger_ms=0"]
BY_LIMIT = ["batching=slo", f"batching.limit_ms={LIMIT_MS}", "batching.margin_ms=40"]
WAYS = {
    "by turns": [*LB, "balancer=round_robin", *AT_ONCE],
    "staggered": [
        *LB, "balancer=staggered", f"balancer.slot_ms={SLOT_MS}", "batching=time", f"batching.timeout_ms={SLOT_MS}",
    ],
}  # fmt: skip
ALONE = {"at once": ["server=batch", *AT_ONCE], "by the limit": ["server=batch", *BY_LIMIT]}
OFFERED = (0.7, 1.0, 1.4)  # times what one replica holds


def held(longest_ms: float) -> float:
    """Requests a second of a replica whose batches take so long, back to back."""
    return 1e3 * (longest_ms - BASE_MS) / EACH_MS / longest_ms


IN_TURN, STAGGERED = held(LIMIT_MS / 2), held(LIMIT_MS / (1 + 1 / REPLICAS))  # 2ℓ ≤ L, (1 + 1/N)ℓ ≤ L


def run(
    words: Sequence[str], rates: Sequence[float], requests: int, asked: argparse.Namespace
) -> list[dict[str, Any]]:
    """The levels of a run at these rates."""
    directory = Path(asked.out) / f"{len(list(Path(asked.out).glob('*')))}"
    listed = ",".join(f"{rate:.2f}" for rate in rates)
    clock = [] if asked.clock == "real" else [f"clock={asked.clock}"]
    line = [*words, *ENGINE, *clock, f"loadtest.request_rate=[{listed}]", f"loadtest.requests={requests}"]
    subprocess.run(
        [sys.executable, "run.py", *line, f"hydra.run.dir={directory}"], check=True, stdout=sys.stderr
    )
    return records.read(directory).levels


def holds(levels: Sequence[dict[str, Any]]) -> Capacity:
    """The rate up to which the limit holds, with its interval."""
    tried = [
        Tried(one["offered_rate_rps"], one["goodput"], one["goodput.effective_requests"])
        for one in levels
        if one["valid"] is not False
    ]
    return capacity(tried, SHARE, seed=0)


def together(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Four replicas: the highest rate that holds, for each way, a replica."""
    for name, words in WAYS.items():
        predicted = IN_TURN if name == "by turns" else STAGGERED
        levels = run(words, [REPLICAS * predicted * share for share in AROUND], asked.requests, asked)
        found = holds(levels)
        each = [
            None if rate is None else rate / REPLICAS
            for rate in (found.rate_rps, found.low_rps, found.high_rps)
        ]
        yield {
            "way": name,
            "predicted_rps": predicted,
            "held_rps": each[0],
            "low_rps": each[1],
            "high_rps": each[2],
        }


def alone(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One replica at, below and beyond what it can hold: how many are answered within the limit a second."""
    for name, words in ALONE.items():
        for level in run(words, [IN_TURN * share for share in OFFERED], asked.requests // 3, asked):
            offered = level["offered_rate_rps"]
            good = level["goodput"] * offered  # of what was offered
            yield {
                "way": name,
                "offered_rps": offered,
                "predicted_rps": min(offered, IN_TURN),
                "good_rps": good,
            }


def main() -> None:
    """Print one line of JSON for each figure, and the gain."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--clock", choices=["real", "virtual"], default="real")
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--out", default="outputs/staggered")
    asked = parser.parse_args()
    Path(asked.out).mkdir(parents=True, exist_ok=True)
    rates = {}
    for line in together(asked):
        rates[line["way"]] = line["held_rps"]
        print(json.dumps({"clock": asked.clock, **line}), flush=True)
    for line in alone(asked):
        print(json.dumps({"clock": asked.clock, **line}), flush=True)
    if (least := rates["by turns"]) is not None:
        gains = {name: None if rate is None else rate / least for name, rate in rates.items()}
        print(json.dumps({"clock": asked.clock, "predicted_gain": STAGGERED / IN_TURN, "gains": gains}))


if __name__ == "__main__":
    main()
