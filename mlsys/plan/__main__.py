"""`python -m mlsys.plan RECORD… --rate 200 --slo "p95<2000"`: the cheapest ways to serve that hold the limit.

Exit code 0; 1 where no plan holds; 2 for a mistake.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlsys import progress
from mlsys.errors import UserError, command
from mlsys.plan import known, picture, told
from mlsys.plan.objective import Objective, Price
from mlsys.plan.search import Outcome, Search

MOST_REPLICAS = 64


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    asked = _parser().parse_args(words)
    return command(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m mlsys.plan", description=about)
    add = parser.add_argument
    add(
        "records",
        nargs="+",
        type=Path,
        metavar="RECORD",
        help="records of serving runs, or their directories",
    )
    add("--rate", type=float, required=True, metavar="R", help="requests a second, of independent users")
    add("--slo", required=True, metavar="P95<MS", help='the limit: "p95<2000" (ms), "p99<1.5s"')
    add(
        "--cost",
        metavar="NAME=PRICE",
        help="what a replica costs an hour: gpu=2.5/h; else replicas are counted",
    )
    add("--max-replicas", type=int, default=MOST_REPLICAS, metavar="N", help="at most so many (%(default)s)")
    add("--page", type=Path, metavar="HTML", help="write a page with cost against latency")
    add("--json", action="store_true", help="print the plans as JSON")
    return parser


def _run(asked: argparse.Namespace) -> int:
    objective = Objective.read(asked.slo)
    price = Price() if asked.cost is None else Price.read(asked.cost)
    if not 0 < asked.rate < math.inf:
        raise UserError(f"--rate={asked.rate:g} must be finite and more than 0")
    if asked.max_replicas < 1:
        raise UserError(f"--max-replicas={asked.max_replicas} must be at least 1")
    if asked.page is not None and asked.page.is_dir():
        raise UserError(
            f"--page={asked.page} is a directory: name a file, such as {asked.page / 'plan.html'}"
        )
    with progress.step("fitting the records"):
        records = known.read(asked.records, objective)
    with progress.step("simulating plans", None) as bar:
        search = Search(asked.rate, objective, records, asked.max_replicas, lambda _: bar.advance())
        plans = search.run()
    basis = told.basis(records)
    if asked.json:
        print(json.dumps([_plain(search, one, price) for one in plans], indent=1))
    else:
        _print(search, plans, price, basis)
    if asked.page is not None:
        said = f"page: {picture.write(asked.page, search, plans, price, basis).resolve()}"
        print(said, file=sys.stderr if asked.json else sys.stdout)
    return 0 if plans else 1


def _print(search: Search, plans: Sequence[Outcome], price: Price, basis: str) -> None:
    if not plans:
        print(told.none(search))
    for number, one in enumerate(plans, 1):
        head, latency, line = told.plan(search, one, price)
        print(f"{number}. {head} {latency}\n   {line}")
    print(basis)
    for text in dict.fromkeys(told.unknown(search, plans)):
        print(f"note: {text}")


def _plain(search: Search, outcome: Outcome, price: Price) -> dict[str, Any]:
    values = {
        name: value for name, value in asdict(outcome).items() if name not in ("candidate", "known", "holds")
    }
    values = {
        name: value for name, value in values.items() if not (isinstance(value, float) and math.isinf(value))
    }
    candidate = outcome.candidate
    return {
        "plan": told.title(outcome),
        "replicas": candidate.replicas,
        "cost": price.of(candidate.replicas),
        "command": told.command(search, outcome),
        **values,
    }


if __name__ == "__main__":
    sys.exit(main())
