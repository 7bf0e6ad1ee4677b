"""Servers for the tests below: launched anew, or one for all that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Launch, launched


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """`with launch("batch", server={...}) as (url, process)`."""
    return lambda mode, **groups: launched(tmp_path, mode, **groups)


@pytest.fixture(scope="session")
def batch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One batch server for all tests that leave it as it was."""
    with launched(tmp_path_factory.mktemp("batch"), "batch", server={"max_k": 3}) as (url, _):
        yield url
