"""Each level's agreement with the service's own counters, as a table: `python agreement.py RUN…`."""

import sys
from pathlib import Path

from mlsys import record

NAMES = ("requests", "output_tokens", "prompt_tokens", "e2e_ms.mean", "ttft_ms.mean", "decode_s")


def main(places: list[str]) -> None:
    """One line for each load level; a dash where one of both does not count it."""
    print("| service | clients | " + " | ".join(NAMES) + " |")
    print("|---|---|" + "---|" * len(NAMES))
    for place in places:
        entry = record.read(Path(place))
        for level in entry.levels:
            told = [level.get(f"counters.agreement.{name}") for name in NAMES]
            cells = [f"{value:.3f}" if isinstance(value, float) else "–" for value in told]
            print(f"| {level['counters.system']} | {level['concurrency']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
