from __future__ import annotations

from typing import Any

import pytest

from mlsys.loadtest.identity import Identity, ask, read


def test_a_server_tells_its_model_and_version_in_one_way_or_another() -> None:
    vllm = {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]}
    assert read(vllm, {"version": "0.24.0"}, None) == Identity("m", "vllm", "0.24.0")
    assert read(None, None, {"model_id": "e", "version": "1.9"}) == Identity("e", None, "1.9")


@pytest.mark.parametrize("odd", [None, [], 3, {"data": 3}, {"data": [3]}, {"data": [{"id": "x" * 1000}]}])
def test_what_is_odd_or_missing_stays_unknown(odd: Any) -> None:
    assert read(odd, odd, odd) == Identity()


def test_nobody_there_tells_nothing() -> None:
    assert ask("http://127.0.0.1:9", {}) == Identity()
    assert Identity().described(None) == {
        "service.model": None,
        "service.server": None,
        "service.version": None,
    }
