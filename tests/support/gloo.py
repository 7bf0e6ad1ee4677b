"""Runs a program as ranks that talk through gloo, without torchrun, which takes longer to start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(program: str, ranks: int, *words: object) -> list[str]:
    """What each rank printed; `sys.argv` of a rank: its number, how many there are, `words`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, str(rank), str(ranks), *map(str, words)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    try:
        outputs = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * ranks, outputs
    return [out for out, _ in outputs]
