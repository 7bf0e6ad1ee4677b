"""Keys from a variable or a file, and a file that changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsys.errors import UserError
from mlsys.serving.http.keyring import Keyring, named


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("old\n")
    return path


def test_a_replaced_file_counts_within_a_second_and_a_broken_one_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    ring = Keyring(f"file:{file}", lambda: now[0])
    assert ring.knows(b"old")
    file.write_text("new\nold\n")
    now[0] = 0.5
    assert not ring.knows(b"new")
    now[0] = 1.0
    assert ring.knows(b"new")
    assert ring.knows(b"old")
    assert ring.is_first(b"new")
    assert not ring.is_first(b"old")
    file.write_text("# nothing\n")
    now[0] = 2.0
    assert ring.knows(b"new")
    assert "holds no key: write one a line; the keys that were known go on to hold" in capsys.readouterr().err
    file.unlink()
    now[0] = 3.0
    assert ring.knows(b"old")
    file.write_text("third\n")
    now[0] = 4.0
    assert [ring.knows(key) for key in (b"third", b"new", b"old", b"")] == [True, False, False, False]


def test_without_a_source_it_is_open_and_knows_nobody() -> None:
    ring = Keyring(None)
    assert ring.open
    assert not ring.knows(b"")
    assert not ring.is_first(b"")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "holds no key: write one a line"),
        ("x" * 70_000, "is larger than 65536 bytes"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_file_without_keys_is_one_line(file: Path, content: str, line: str) -> None:
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"server.api_key=file:{file} {line}"):
        Keyring(f"file:{file}")


def test_a_name_does_not_tell_the_key() -> None:
    assert named(b"") == ""
    assert len(named(b"s3cret")) == 16
    assert named(b"s3cret") != named(b"s3cres")
