"""A trace in Mooncake's form, made by a seed: `python make_trace.py trace.jsonl`. Nobody's requests are in it.

Requests come in bunches (gamma distributed gaps), lengths are lognormal, and a few prompts' beginnings are shared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

BLOCK = 512
BEGINNINGS = 8


def lines(requests: int, seconds: float, mean_tokens: int, seed: int) -> list[str]:
    """The trace, a JSON object a line."""
    random = np.random.default_rng(seed)
    gaps = random.gamma(0.5, size=requests)
    at_ms = np.rint(1e3 * seconds * (np.cumsum(gaps) - gaps[0]) / (gaps.sum() - gaps[0])).astype(int)
    read = np.clip(random.lognormal(np.log(mean_tokens) - 0.5, 1.0, requests), 8, 4 * mean_tokens).astype(int)
    written = np.clip(random.lognormal(np.log(16), 0.7, requests), 1, 64).astype(int)
    found = []
    for number in range(requests):
        blocks = -(-int(read[number]) // BLOCK)
        own = range(BEGINNINGS + 64 * number, BEGINNINGS + 64 * number + blocks - 1)
        request = {
            "timestamp": int(at_ms[number]),
            "input_length": int(read[number]),
            "output_length": int(written[number]),
            "hash_ids": [int(random.integers(BEGINNINGS)), *own],
        }
        found.append(json.dumps(request))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--tokens", type=int, default=300, help="of prompts, on average")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    made = lines(asked.requests, asked.seconds, asked.tokens, asked.seed)
    asked.path.write_text("\n".join(made) + "\n")
