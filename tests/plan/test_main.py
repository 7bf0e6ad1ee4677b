"""`python -m mlsys.plan` as typed: from a real record to a plan, and the plan's own line run in real time."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from scalars import number

from mlsys import defaults, record
from mlsys.plan import search
from mlsys.plan.__main__ import main
from mlsys.plan.objective import Objective

ENGINE = (
    "corpus=animals", "embedder=hashing", "generator=simulated", "generator.base_ms=100", "device=cpu",
    "generator.per_request_ms=20", "generator.per_token_ms=0", "generator.max_new_tokens=1", "tracking=off",
)  # fmt: skip
ONLY_LEVELS = ("loadtest.engine_ceiling=false", "loadtest.quality_questions=0")
LIMIT_MS = 2500.0
RATE = 120.0  # of 250 requests one replica, which does 50 a second at most, would answer the last after 3 s


def run(directory: Path, *words: str) -> record.Record:
    """What a line measured."""
    line = [sys.executable, "run.py", *words, f"hydra.run.dir={directory}"]
    subprocess.run(line, check=True, cwd=defaults.ROOT, capture_output=True, text=True)
    return record.read(directory)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of what is simulated otherwise."""
    monkeypatch.setattr(Objective, "needs", 250)
    monkeypatch.setattr(search, "ROUNDS", 1)
    monkeypatch.setattr(search, "MORE", (1.25,))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two rates, in real time."""
    directory = tmp_path_factory.mktemp("measured")
    load = ("loadtest=poisson", "loadtest.request_rate=[5,15]", "loadtest.requests=60")
    run(directory, "server=batch", *ENGINE, *load, *ONLY_LEVELS)
    return directory


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_plan_for_this_machine_keeps_its_promise_when_it_is_run(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(measured), "--rate", f"{RATE:g}", "--slo", f"p95<{LIMIT_MS:g}", "--max-replicas", "8"]
    assert main([*asked, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)[0]
    assert plan["replicas"] > 1, plan
    assert plan["high_ms"] <= LIMIT_MS
    words = shlex.split(plan["command"])[2:]
    (level,) = run(tmp_path / "run", *words, "loadtest.requests=200", "tracking=off", *ONLY_LEVELS).levels
    assert level["offered_rate_rps"] == RATE
    assert number(level["goodput"]) >= 0.95, "p95 is within the limit"
    assert number(level["e2e_ms.p95"]) >= 0.5 * plan["low_ms"], (
        "a busy machine is later than predicted, not earlier"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_answer_has_plans_the_lines_that_run_them_a_page_and_what_is_not_known(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "plan.html"
    asked = [str(measured), "--rate", "10", "--slo", "p95<1.5s", "--cost", "gpu=2.5/h", "--max-replicas", "2"]
    assert main([*asked, "--page", str(page)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1. ")
    assert "(1 × gpu)" in out
    assert "python run.py server=" in out
    valid = sum(level["valid"] is not False for level in record.read(measured).levels)  # each is, mostly
    assert f"simulated again, {valid} level" in out
    assert "note: There is one record only" in out
    assert "Cost against latency" in page.read_text()
    assert main([str(measured), "--rate", "20", "--slo", "p95<50"]) == 1
    assert "one request alone takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "0", "--slo", "p95<100"], "--rate=0 must be finite and more than 0"),
        (["--rate", "5", "--slo", "p95"], "--slo=p95 is no limit"),
        (["--rate", "5", "--slo", "p95<100", "--cost", "much"], "--cost=much is no price"),
        (["--rate", "5", "--slo", "p95<100", "--max-replicas", "0"], "--max-replicas=0"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outputs", *words]) == 2
    assert capsys.readouterr().err.startswith(said)


def test_what_is_no_record_of_a_service_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none"), "--rate", "5", "--slo", "p95<100"]) == 2
    assert "is not there" in capsys.readouterr().err
    assert main([str(tmp_path), "--rate", "5", "--slo", "p95<100"]) == 2
    assert "no serving run with a load" in capsys.readouterr().err
