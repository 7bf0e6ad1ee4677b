"""The tuning table: every row can run, an unknown GPU gets a plain guess, one's own table goes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mlsys.distance import tuner, tuning_table
from mlsys.distance.tuning_table import Settings
from mlsys.errors import UserError
from mlsys.record import Scalar

GPU = torch.device("cuda", 0)


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def test_every_shipped_row_is_sound() -> None:
    for name, table in json.loads(tuning_table.SHIPPED.read_text()).items():
        assert table["source"], name
        for sums, itemsize in ((1, 2), (1, 4), (3, 2), (3, 4)):
            about = {"sums": sums, "itemsize": itemsize}
            rows = [row for row in table["settings"] if all(row.get(key, v) == v for key, v in about.items())]
            rows = [row for row in rows if "itemsize" in row] or rows  # they come first
            for limits in ([row["up_to_bytes"] for row in rows], [row["up_to_n"] for row in table["auto"]]):
                assert limits[-1] is None
                assert limits[:-1] == sorted(limits[:-1])
        for row in table["settings"]:
            knobs = {
                knob: value for knob, value in row.items() if knob not in ("up_to_bytes", "sums", "itemsize")
            }
            cut = Settings(**knobs)
            assert cut.tile_bytes & (cut.tile_bytes - 1) == 0
            assert cut.warps in (1, 2, 4, 8, 16, 32)
        assert {row["reduction"] for row in table["auto"]} <= {"single_pass", "hierarchical", "blocked"}, (
            "auto stays bitwise deterministic"
        )


@pytest.mark.usefixtures("h100")
def test_rows_are_chosen_by_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = {
        "sm_90": {
            "source": "test",
            "settings": [
                {"sums": 1, "itemsize": 2, "up_to_bytes": None, "tile_bytes": 1024},
                {"sums": 3, "up_to_bytes": 50, "tile_bytes": 128},
                {"up_to_bytes": 100, "tile_bytes": 256},
                {"up_to_bytes": None, "tile_bytes": 512, "tiles": 3},
            ],
            "auto": [
                {"up_to_n": 10, "reduction": "single_pass"},
                {"up_to_n": None, "reduction": "hierarchical"},
            ],
        }
    }
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own))
    monkeypatch.setenv(tuning_table.VARIABLE, str(path))
    assert [tuning_table.settings(GPU, 50, 1, sums).tile_bytes for sums in (1, 3)] == [256, 128]
    assert [tuning_table.settings(GPU, 100, 1, sums).tile_bytes for sums in (1, 3)] == [256, 256]
    assert [tuning_table.settings(GPU, 25, 2, sums).tile_bytes for sums in (1, 3)] == [1024, 128]
    assert tuning_table.settings(GPU, 101, 1, 1).segment_n(4) == 128 * 3
    assert [tuning_table.fastest(GPU, n) for n in (10, 11)] == ["single_pass", "hierarchical"]


def test_an_unknown_gpu_gets_the_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (3, 5))
    assert not tuning_table.measured(GPU)
    assert tuning_table.settings(GPU, 10**9, 1, 1) == Settings(32768, 4, 8)
    assert tuning_table.fastest(GPU, 10**9) == "single_pass"


def test_a_table_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(tuning_table.VARIABLE, str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"MLSYS_TUNING=.*none.json cannot be read"):
        tuning_table.settings(torch.device("cpu"), 10, 4, 1)


def test_tuning_needs_a_gpu_and_tries_sensible_cuts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="device=cpu: tuning measures a GPU"):
        list(tuner.Tuning(torch.device("cpu"), tmp_path).measure())
    for vector_bytes in (4_000, 4_000_000, 4_000_000_000):
        cuts = list(tuner.candidates(vector_bytes))
        assert len(cuts) == len(set(cuts)) >= 5


def test_a_table_is_made_of_the_winners() -> None:
    cut, other = Settings(), Settings(tiles=9)
    both = {(dtype, sums): {1: cut, 3: other}[sums] for dtype, sums in tuner.KINDS}
    last = both | {(torch.float32, 1): other}
    rows = [(100, both, "single_pass"), (10_000, both, "single_pass"), (1_000_000, last, "hierarchical")]
    made = tuner.table("here", rows)
    assert [row["up_to_bytes"] for row in made["settings"]] == [2_000, 200_000, None] * 2 + [
        4_000,
        400_000,
        None,
    ] * 2
    assert [row.get("itemsize") for row in made["settings"]] == [2] * 6 + [None] * 6
    assert [row["tiles"] for row in made["settings"]] == [4, 4, 4, 9, 9, 9, 4, 4, 9, 9, 9, 9]
    assert made["auto"] == [
        {"up_to_n": 100_000, "reduction": "single_pass"},
        {"up_to_n": None, "reduction": "hierarchical"},
    ]


@pytest.mark.gpu
def test_tuning_a_gpu_makes_a_table_that_is_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "SIZES", (1_000, 100_000))
    results: dict[str, Scalar] = {}
    for part in tuner.Tuning(GPU, tmp_path).measure():
        results.update(part.values)
    monkeypatch.setenv(tuning_table.VARIABLE, str(tmp_path / "tuning.json"))
    assert (
        tuning_table.settings(GPU, 1_000, 4, 3).tile_bytes
        == results["tuning.1e+03.float32.cosine.tile_bytes"]
    )


def test_a_table_without_a_last_row_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(
        json.dumps({"interpreter": {"source": "", "settings": [{"sums": 1, "up_to_bytes": None}]}})
    )
    monkeypatch.setenv(tuning_table.VARIABLE, str(path))
    assert tuning_table.settings(torch.device("cpu"), 10, 4, 1) == Settings()
    with pytest.raises(
        UserError, match=r"MLSYS_TUNING=.*own.json: its `settings` have no last row for 3 sums"
    ):
        tuning_table.settings(torch.device("cpu"), 10, 4, 3)
