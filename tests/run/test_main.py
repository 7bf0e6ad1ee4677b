"""What a command line costs before anything is measured."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlsys.defaults import ROOT

HEAVY = ("torch", "numpy", "scipy", "pandas", "numba", "triton", "plotly", "wandb", "fastapi", "transformers")
ASK = f"""
import runpy, sys
sys.argv = ["run.py", *sys.argv[1:]]
try:
    runpy.run_path({str(ROOT / "run.py")!r}, run_name="__main__")
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "Groups (choose with group=option)"),
        (["--cfg", "job"], "metric:"),
        (["--cfg", "job", "server=batch", "generator=smollm2"], "max_size: 32"),
        (["-sc", "query=bash"], "metric=cosine metric=dot"),
    ],
    ids=" ".join,
)
def test_help_configuration_and_completion_import_nothing_heavy(words: list[str], shown: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMP_LINE": "python run.py metric="}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *words], env=environment, capture_output=True, text=True, check=True
    )
    assert shown in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"
