"""The tuning table: every row can run, a card comes before its architecture, one's own table before both."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlsys.distance import tuner, tuning_model, tuning_table
from mlsys.distance.tuning_model import Card, Settings
from mlsys.errors import UserError
from mlsys.record import Scalar

GPU = torch.device("cuda", 0)


def pretend(patch: pytest.MonkeyPatch, name: str, capability: tuple[int, int], **told: int) -> None:
    properties = SimpleNamespace(name=name, **told)
    patch.setattr(torch.cuda, "get_device_name", lambda device: name)
    patch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    patch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "NVIDIA H100 80GB HBM3", (9, 0))


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


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("NVIDIA H200", "this card: measured on NVIDIA H200, "),
        ("NVIDIA H100 80GB HBM3", "this card: measured on NVIDIA H100 80GB HBM3, "),
        ("NVIDIA H100 NVL", "this architecture (sm_90): measured on NVIDIA H100 80GB HBM3, "),
    ],
)
def test_a_card_has_its_own_table_or_that_of_its_architecture(
    monkeypatch: pytest.MonkeyPatch, name: str, origin: str
) -> None:
    pretend(monkeypatch, name, (9, 0))
    assert tuning_table.origin(GPU).startswith(origin)
    tables = json.loads(tuning_table.SHIPPED.read_text())
    row = tables["NVIDIA H200" if name == "NVIDIA H200" else "NVIDIA H100 80GB HBM3"]["settings"][-1]
    found = vars(tuning_table.settings(GPU, 10**9, 4, 3))
    assert found == {knob: row[knob] for knob in found}


def test_a_table_of_ones_own_for_the_architecture_goes_before_ours_for_the_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, "NVIDIA H200", (9, 0))
    path = tmp_path / "own.json"
    own = {"settings": [{"up_to_bytes": None, "warps": 2}], "auto": []}
    for key, about in (("sm_90", {}), ("NVIDIA H100 NVL", {"architecture": "sm_90"})):
        path.write_text(json.dumps({key: {"source": "mine", **about, **own}}))
        monkeypatch.setenv(tuning_table.VARIABLE, str(path))
        tuning_table._tables.cache_clear()
        assert tuning_table.origin(GPU) == "this architecture (sm_90): mine"
        assert tuning_table.settings(GPU, 10**9, 4, 3).warps == 2


def test_a_card_that_nobody_measured_gets_the_models_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "NVIDIA A100-SXM4-80GB", (8, 0), multi_processor_count=108)
    assert tuning_table.origin(GPU) == "model: 108 processors, 2039 GB/s"
    assert tuning_table.settings(GPU, 10**9, 4, 1) == Settings(4096, 16, 4, 3, evict_first=True)
    assert tuning_table.fastest(GPU, 10**9) == "single_pass"


@pytest.mark.parametrize(
    ("told", "bandwidth"), [({"memory_bus_width": 256, "memory_clock_rate": 1_000_000}, 64.0), ({}, 400.0)]
)
def test_the_model_knows_a_card_by_its_memorys_clock_or_by_its_processors(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, int], bandwidth: float
) -> None:
    pretend(monkeypatch, "NVIDIA Nonesuch", (7, 5), multi_processor_count=40, **told)
    assert tuning_model.card(GPU) == Card(40, bandwidth)


def test_the_model_cuts_so_that_all_processors_have_work_and_enough_is_under_way() -> None:
    small, large = Card(20, 200.0), Card(132, 4800.0)
    for card in (small, large):
        for size in (4_000, 400_000, 40_000_000, 4_000_000_000):
            cut = tuning_model.settings(card, size)
            programs = -(-size // (cut.tile_bytes * cut.tiles))
            assert programs >= 2 * card.processors or cut.tile_bytes * cut.tiles == tuning_model.SMALLEST
    assert tuning_model.settings(large, 4 * 10**9).tile_bytes == 8192
    assert tuning_model.settings(small, 4 * 10**9).tile_bytes == 2048


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
