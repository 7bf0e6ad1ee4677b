"""Starts torchrun as its user does and leaves no process behind, whatever the test found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(ranks: int, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    line = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
        *words,
    ]
    paths = [str(ROOT), variables.pop("PYTHONPATH", None), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, paths))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **variables}
    process = subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    family = [psutil.Process(process.pid)]
    try:
        yield process
    finally:
        if process.poll() is None:
            family += family[0].children(recursive=True)
        for member in family:
            if member.is_running():
                member.kill()
        process.wait()


def run(ranks: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    with started(ranks, *words, **variables) as process:
        out, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)
