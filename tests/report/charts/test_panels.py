from __future__ import annotations

from pathlib import Path

from mlsys.distance import baselines
from mlsys.distance.search import peers
from mlsys.report.charts import panels


def test_every_baseline_is_drawn() -> None:
    assert baselines.__file__ is not None
    there = {path.stem for path in Path(baselines.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(panels.BASELINES) == there


def test_every_peer_of_search_is_drawn() -> None:
    assert set(panels.PEERS) == set(peers.PEERS)
