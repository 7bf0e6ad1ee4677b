"""What a sweep's end says: failures are counted first, and a drawing that fails is one of them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import synthetic
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mlsys.record import Record
from mlsys.report import page
from mlsys.run import interleave, live, sweep


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "failures", [])
    monkeypatch.setattr(sweep, "_said", set())


def ended(directory: Path) -> None:
    sweep.Report().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(directory)}}}))


def full(*anything: Any) -> Path:
    raise OSError(28, "No space left on device", "index.html")


def unfinished() -> Record:
    return synthetic.start("distance", {"metric": {"name": "l2"}, "n": 3}, [])


def test_a_page_that_cannot_be_written_is_a_failure_after_those_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.save(tmp_path, [synthetic.distance(), synthetic.failed()])
    monkeypatch.setattr(page, "write", full)
    ended(tmp_path)
    assert sweep.failures == [
        "1: UserError: size=1.5 is not a whole number",
        "drawing failed: index.html: No space left on device",
    ]
    out, err = capsys.readouterr()
    assert out.startswith("distance")  # the table is shown all the same
    assert err.splitlines() == [
        "drawing failed: index.html: No space left on device",
        "1 of 2 failed:",
        "  1: UserError: size=1.5 is not a whole number",
    ]


def test_an_odd_record_in_the_directory_hides_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = synthetic.distance()
    odd.environment = None  # type: ignore[assignment]
    synthetic.save(tmp_path, [odd, synthetic.distance(), synthetic.failed()])
    ended(tmp_path)
    assert sweep.failures == ["2: UserError: size=1.5 is not a whole number"]
    out, err = capsys.readouterr()
    assert (tmp_path / "index.html").exists()
    assert "size=1.5" in out
    assert err.count("passed over") == 1
    assert f"{tmp_path}/0/record.json: not a record: environment is null" in err


def test_rounds_that_break_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    monkeypatch.setattr(interleave, "run", full)
    ended(tmp_path)
    assert sweep.failures == ["measuring failed: index.html: No space left on device"]


def test_a_run_that_another_process_measures_has_not_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.save(tmp_path, [synthetic.distance(), unfinished(), unfinished()])
    claim = live.claim(tmp_path / "1")
    assert claim is not None
    ended(tmp_path)
    claim.release()
    assert [line.partition(":")[0] for line in sweep.failures] == ["2"]
    assert "another process is measuring 1 just now: not all is drawn yet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plain", "with space", "a=b,c", "it's (ü) #1", "back\\slash"])
def test_the_hint_after_ctrl_c_is_a_command_for_a_shell_and_for_hydra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    directory = tmp_path / name
    directory.mkdir()
    typed = ["python", "run.py", "-m", "metric=l2,l1", "baselines=[]", "hydra.sweep.dir=elsewhere"]
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sweep, "_sweep_directory", [directory])
    sweep.interrupted()
    hint = capsys.readouterr().err.splitlines()[-1]
    words = shlex.split(hint.removeprefix("to go on from here: "))
    assert words[:-1] == typed[:-1]
    override = OverridesParser.create().parse_override(words[-1])
    assert override.key_or_group == "hydra.sweep.dir"
    assert override.value() == str(directory)


def test_without_the_extra_that_draws_pages_there_is_the_table_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    monkeypatch.setattr("mlsys.extras.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        "mlsys.extras.missing", lambda name: f"{name} is not installed: pip install 'mlsys[page]'"
    )
    ended(tmp_path)
    assert sweep.failures == []
    assert (tmp_path / "table.csv").exists()
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "no page: plotly is not installed: pip install 'mlsys[page]'"
    )
