"""The scripts in examples/ run as they stand and say what they show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import launched

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", str(ROOT / "examples" / script), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def test_every_example_is_short_and_run_here() -> None:
    assert SCRIPTS == ["ask.py", "distances.py", "openai_client.py", "search.py"]
    for script in SCRIPTS:
        assert len((ROOT / "examples" / script).read_text().splitlines()) < 40


@pytest.mark.parametrize(("script", "said"), [("distances.py", "stream"), ("search.py", "query 2: row 2 at")])
def test_what_is_computed_is_printed(script: str, said: str) -> None:
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_a_running_service_is_asked(tmp_path: Path) -> None:
    with launched(tmp_path, "batch") as (address, _):
        done = run("ask.py", address, "How fast is a cat?", "What does a hummingbird eat?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("batch of 1") == 2


def test_the_openai_package_is_answered(tmp_path: Path) -> None:
    with launched(tmp_path, "batch") as (address, _):
        done = run("openai_client.py", address, "How fast is a cat?")
    assert done.returncode == 0, done.stderr
    *passages, answer = done.stdout.splitlines()
    assert [passage[:2] for passage in passages] == ["- ", "- "]
    assert len(answer.split()) == 32


def test_a_service_that_is_not_there_is_one_line() -> None:
    done = run("ask.py", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
