"""Open files are a bound on connections."""

import resource

import pytest
from sections import made

from mlsys.serving.http import bounds


def test_no_more_connections_than_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    for files, mode, most in (
        (256, "batch", 192),
        (256, "lb", 96),
        (32, "batch", 16),
        (1 << 20, "batch", 4096),
        (resource.RLIM_INFINITY, "batch", 4096),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (16, files))
        assert bounds.of(made(f"server/{mode}")).connections == most
