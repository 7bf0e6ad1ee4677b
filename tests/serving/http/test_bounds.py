"""Open files are a bound on connections."""

import resource

import pytest

from mlsys.serving import options
from mlsys.serving.http import bounds


def test_no_more_connections_than_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    for files, mode, most in (
        (256, options.Batch, 192),
        (256, options.LoadBalancer, 96),
        (32, options.Batch, 16),
        (1 << 20, options.Batch, 4096),
        (resource.RLIM_INFINITY, options.Batch, 4096),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (16, files))
        assert bounds.of(mode()).connections == most
