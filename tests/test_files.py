"""What is written in one step is whole or is not there, and leaves nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsys import files


def test_a_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "index.html"
    files.replace(path, "one")
    assert files.replace(path, "zwei ü").read_text("utf-8") == "zwei ü"
    assert [each.name for each in path.parent.iterdir()] == ["index.html"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = files.replace(tmp_path / "index.html", "before")
    caught: BaseException | None = None
    try:
        with files.replacing(path) as beside:
            beside.write_text("half")
            raise error
    except (OSError, KeyboardInterrupt) as raised:
        caught = raised
    assert caught is error
    assert [each.name for each in tmp_path.iterdir()] == ["index.html"]
    assert path.read_text() == "before"
    if isinstance(caught, OSError):
        assert caught.filename == str(path)  # the system names none for a full disk


def test_what_is_assembled_takes_its_place_only_when_whole(tmp_path: Path) -> None:
    half = files.assembling(tmp_path / "model")
    half.__enter__().mkdir()
    error = KeyboardInterrupt()
    assert half.__exit__(type(error), error, None) is False
    assert not list(tmp_path.iterdir())
    with files.assembling(tmp_path / "model") as folder:
        folder.mkdir()
        (folder / "weights").touch()
        (folder.parent / "log").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "weights"]
