"""Mutated requests against each mode that has its own way to the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from launching import launched

SCRIPT = Path(__file__).parents[3] / "experiments" / "fuzz" / "sockets.py"
MODES = ("baseline", "batch", "continuous", "lb")


@pytest.mark.slow
def test_mutated_requests_break_nothing(tmp_path: Path) -> None:
    """All modes at the same time: most of it is waiting for answers to half a request."""
    with ExitStack() as stack:
        fuzzing = {}
        for mode in MODES:
            server = {"receive_timeout_s": 3.0, **({"replicas": 2} if mode == "lb" else {})}
            url, service = stack.enter_context(launched(tmp_path / mode, mode, server=server))
            words = [sys.executable, str(SCRIPT), url, "--requests", "60", "--pid", str(service.pid)]
            fuzz = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            stack.callback(fuzz.kill)
            fuzzing[mode] = fuzz, service
        for mode, (fuzz, service) in fuzzing.items():
            out, _ = fuzz.communicate(timeout=300)
            told = json.loads(out)
            assert (mode, fuzz.returncode, told["faults"], told["hangs"]) == (mode, 0, 0, 0), out
            assert told["requests"] == 60
            assert {"200", "400"} <= set(told["outcomes"])
            assert "Traceback" not in service.log.read_text()
