"""A configuration that a service is started with, or goes on with, may be any file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsys.errors import UserError
from mlsys.serving.starting import checked


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "cannot be read: 'utf-8' codec can't decode byte 0xff in position 0"),
        (b"server: \x00", "cannot be read: unacceptable character #x0000"),
        (b"server: [", "cannot be read: while parsing a flow node"),
        (b"[" * 100_000, "cannot be read: maximum recursion depth exceeded"),
        (b"server: " + b"9" * 5000, "cannot be read: Exceeds the limit"),
        (b"server: 2026-13-45", "cannot be read: month must be in 1..12"),
        (b"", "no server section: choose one, server=batch for example"),
        (b"server: []", "no server section"),
        (b"server: {}", "no generator section: choose one, generator=simulated for example"),
        (b"server: {}\ngenerator: []", "no generator section"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (path := tmp_path / "server.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        checked(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
