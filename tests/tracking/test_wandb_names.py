"""What a run is called at W&B, which options it takes and what it leaves alone: without its client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import synthetic
from sections import made

from mlsys.errors import UserError
from mlsys.record import Record
from mlsys.report.rows import rows
from mlsys.tracking.wandb import run_id, run_name, sweep_name


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mlsys.tracking.wandb import surroundings

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    with surroundings("offline", tmp_path):
        assert os.environ["WANDB_MODE"] == "offline"
        assert os.environ["WANDB_DATA_DIR"].startswith(str(tmp_path))
    assert os.environ["WANDB_MODE"] == "online"
    assert "WANDB_DATA_DIR" not in os.environ


def test_the_group_is_the_sweep_where_there_is_one(tmp_path: Path) -> None:
    assert sweep_name(tmp_path / "sweep" / "0") is None
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").touch()
    assert sweep_name(tmp_path / "sweep" / "0") == "sweep"


def test_bad_options_name_themselves() -> None:
    with pytest.raises(UserError, match=r"tracking\.mode=on is none of offline, online, disabled"):
        made("tracking/online", mode="on")
    with pytest.raises(UserError, match=r"tracking\.timeout_s=0\.0 must be more than 0"):
        made("tracking/offline", timeout_s=0)


def test_the_same_record_is_the_same_run_unless_an_agent_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = tmp_path / "sweep" / "0"
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert run_id(synthetic.distance(), run) == run_id(synthetic.distance(), run)
    assert run_id(synthetic.distance(), run) != run_id(synthetic.distance("dot"), run)
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    assert run_id(synthetic.distance(), run) is None


def test_the_runs_of_a_sweep_do_not_share_the_id_that_an_agent_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "multirun.yaml").touch()
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    ids = {
        run_id(made, tmp_path / made.config["metric"]["name"])
        for made in map(synthetic.distance, ("l2", "dot"))
    }
    assert len(ids) == 2
    assert not ids & {None, "agents"}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (synthetic.distance(), "l2 blocked float32 1,000,000"),
        (synthetic.serving("queue"), "queue"),
        (synthetic.failed(), "l2"),
    ],
)
def test_run_name(made: Record, name: str) -> None:
    assert run_name(rows([(Path("/x"), made)])[0]) == name


def test_without_wandb_an_offline_run_goes_on_and_an_online_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = "wandb is not installed: pip install 'mlsys[wandb]'"
    monkeypatch.setattr("mlsys.extras.absent", lambda name: lacking)
    sink = made("tracking/offline", mode="offline")
    sink.open(synthetic.distance(), tmp_path)
    sink.close(synthetic.distance())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == f"this run is not kept for W&B: {lacking}\n"
    with pytest.raises(UserError, match=r"tracking\.mode=online: wandb is not installed"):
        made("tracking/online").open(synthetic.distance(), tmp_path)
