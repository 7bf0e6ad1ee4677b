"""Small traces in the three published forms, made by seed: no line of them was ever anybody's request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

BLOCK = 512


def mooncake(path: Path, count: int, seconds: float, seed: int = 0, longest: int = 2000) -> Path:
    """JSON lines with `timestamp` (ms), lengths and `hash_ids`: several users' prompts begin alike."""
    random = np.random.default_rng(seed)
    at_ms = np.sort(random.uniform(0, 1e3 * seconds, count)).astype(int)
    at_ms[0], at_ms[-1] = 0, int(1e3 * seconds)
    lines = []
    for number in range(count):
        tokens = int(random.integers(1, longest))
        blocks = -(-tokens // BLOCK)
        shared = int(random.integers(8))
        ids = [shared, *range(1000 * (number + 1), 1000 * (number + 1) + blocks - 1)]
        line = {
            "timestamp": int(at_ms[number]),
            "input_length": tokens,
            "output_length": int(random.integers(1, 64)),
        }
        lines.append(json.dumps({**line, "hash_ids": ids}))
    path.write_text("\n".join(lines) + "\n")
    return path


def burstgpt(path: Path, rows: list[tuple[float, int, int]]) -> Path:
    """CSV with `Timestamp` in s, and columns that nobody reads."""
    head = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    lines = [f"{at},ChatGPT,{i},{o},{i + o},Conversation log" for at, i, o in rows]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def azure(path: Path, rows: list[tuple[float, int, int]]) -> Path:
    """CSV with dates of seven digits after the second."""
    began = datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC)
    lines = [
        f"{(began + timedelta(seconds=at)).strftime('%Y-%m-%d %H:%M:%S.%f')}0,{i},{o}" for at, i, o in rows
    ]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]) + "\n")
    return path
