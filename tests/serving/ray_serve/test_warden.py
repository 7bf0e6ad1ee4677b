"""Whom the warden would kill: its session's processes and nobody else's, whatever it is told. Here it kills nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlsys.serving.ray_serve.warden import began, ours

MARK = "MLSYS_RAY_SESSION=" + "0123456789abcdef" * 2
WAITS = "import sys; file = open(sys.argv[1], 'w') if len(sys.argv) > 1 else None; print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    "word", [b"", b"=", b"MLSYS_RAY_SESSION=", b"PATH=/usr/bin", b"MLSYS_RAY_SESSION=ab"]
)
@pytest.mark.parametrize(
    "directory", ["", "/", "/tmp", "/tmp/mlsys-ray-", "mlsys-ray-abcdefgh", "/tmp/mlsys-ray-abcdefgh"]
)
def test_a_mark_that_others_could_have_is_refused(word: bytes, directory: str) -> None:
    with pytest.raises(ValueError, match="nothing is killed"):
        ours(word, directory, 0, ())


@pytest.mark.parametrize(
    "directory", ["", "/", "/tmp", "/tmp/mlsys-ray-", "mlsys-ray-abcdefgh", "/tmp/mlsys-ray-abcdefgh/"]
)
def test_a_folder_that_others_could_use_is_refused(directory: str) -> None:
    with pytest.raises(ValueError, match="nothing is killed"):
        ours(MARK.encode(), directory, 0, ())


def test_it_finds_the_sessions_processes_and_no_other(tmp_path: Path) -> None:
    directory = tempfile.mkdtemp(prefix="mlsys-ray-", dir=tmp_path)
    name, _, value = MARK.partition("=")

    def waiting(*arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", "-c", WAITS, *arguments]
        child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **variables}
        )
        assert child.stdout is not None
        child.stdout.readline()
        return child

    marked, writes = waiting(**{name: value}), waiting(f"{directory}/log")
    other, beside = waiting(), waiting(f"{directory}-log")
    try:
        assert set(ours(MARK.encode(), directory, 0, ())) == {marked.pid, writes.pid}
        assert ours(MARK.encode(), directory, 0, (marked.pid,)) == [writes.pid]
        later = max(map(began, (marked.pid, writes.pid))) + 1
        assert ours(MARK.encode(), directory, later, ()) == [], (
            "what was there before the warden is never touched"
        )
    finally:
        for child in (marked, writes, other, beside):
            child.communicate()
