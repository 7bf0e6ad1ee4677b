"""README's command lines, driven as commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlsys.config import ROOT

Command = Callable[..., "subprocess.CompletedProcess[str]"]
README = (ROOT / "README.md").read_text()
FIRST, SECOND = re.findall(r"^    (pip install .*)$", README.split("## What else")[0], re.MULTILINE)


def test_the_first_screen_is_one_sentence_two_commands_and_one_figure() -> None:
    screen = README.split("\n## What else")[0]
    assert screen.count("\n    pip install") == 2
    assert len(re.findall(r"!\[[^]]+\]\(([^)]+)\)", screen)) == 1
    for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (ROOT / path).exists(), path


def test_the_first_command_installs_this_and_measures(command: Command, outputs: Path) -> None:
    install, job = FIRST.split(" && ")
    assert install == "pip install -c constraints.txt -e ."
    words = shlex.split(job)
    assert words[:2] == ["python", "run.py"]
    small = [word.replace("1e6,1e8", "1e3,1e5") for word in words[2:]]
    assert small != words[2:]
    done = command(*small, tracking="offline")
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in outputs.rglob("record.json")]
    assert sorted((entry["config"]["metric"]["name"], entry["results"]["n"]) for entry in found) == [
        ("cosine", 1000),
        ("cosine", 100_000),
        ("l2", 1000),
        ("l2", 100_000),
    ]


def test_the_second_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert SECOND == 'pip install -c constraints.txt -e ".[test]" && pytest'
    found = subprocess.run(
        [
            "bash",
            "-c",
            next(line for line in script.splitlines() if line.startswith("command=")) + '; echo "$command"',
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == SECOND


@pytest.mark.parametrize(
    "line", re.findall(r"^    python (run\.py.*|-m mlsys\.\w+.*)$", README, re.MULTILINE)
)
def test_every_line_names_what_there_is(line: str, command: Command) -> None:
    """Composed, not run: groups and values on README's lines exist."""
    words = shlex.split(line, comments=True)
    if words[0] == "-m":
        assert (ROOT / (words[1].replace(".", "/") + ".py")).exists() or (
            ROOT / words[1].replace(".", "/") / "__main__.py"
        ).exists()
        return
    asked = [word for word in words[1:] if word != "-m"]
    if "--help" not in asked and not any("," in word and "[" not in word for word in asked):
        done = command("--cfg", "job", *asked)
        assert done.returncode == 0, done.stderr
