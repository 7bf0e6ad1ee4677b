"""A few seconds of mutated requests against each mode that has its own way to the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launching import Launch

SCRIPT = Path(__file__).parents[3] / "experiments" / "fuzz" / "sockets.py"


@pytest.mark.parametrize("mode", ["baseline", "batch", "continuous", "lb"])
def test_mutated_requests_break_nothing(launch: Launch, mode: str) -> None:
    server = {"receive_timeout_s": 3.0, **({"replicas": 2} if mode == "lb" else {})}
    with launch(mode, server=server) as (url, process):
        words = [sys.executable, str(SCRIPT), url, "--requests", "60", "--pid", str(process.pid)]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        told = json.loads(ended.stdout)
        assert (ended.returncode, told["faults"], told["hangs"]) == (0, 0, 0), ended.stdout
        assert told["requests"] == 60
        assert {"200", "400"} <= set(told["outcomes"])
        assert "Traceback" not in process.log.read_text()
