"""The peers of experiments/seed_serving: what they need of us, without LitServe or Ray being installed."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sections import simulated

from mlsys.loadtest.answer import parse
from mlsys.loadtest.questions import Question

PEERS = Path(__file__).resolve().parents[2] / "experiments" / "seed_serving" / "peers"


@pytest.fixture
def engine() -> dict[str, Any]:
    return runpy.run_path(str(PEERS / "engine.py"))


def test_the_engine_answers_as_our_client_demands(engine: dict[str, Any]) -> None:
    answer = engine["Engine"](simulated("batch"))
    asked: list[dict[str, Any]] = [
        {"query": "Are dogs wild animals?"},
        {"query": "What do cats look like?", "k": 1},
    ]
    first, second = answer(asked)
    assert parse(Question(0, asked[0]["query"], 1), first, 32).tokens == 32
    assert (first["batch_size"], first["passages"][0]["id"]) == (2, 1)
    assert len(second["passages"]) == 1


def test_a_peer_reads_the_configuration_of_a_run(
    engine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.yaml").write_text(yaml.safe_dump(simulated("batch", server={"threads": 1})))
    monkeypatch.setattr(sys, "argv", ["with_ray.py", str(tmp_path / "server.yaml"), "--port", "8102"])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    read, port = engine["arguments"]()
    assert (read["server"]["name"], port) == ("batch", 8102)
    assert os.environ["OMP_NUM_THREADS"] == "1"
