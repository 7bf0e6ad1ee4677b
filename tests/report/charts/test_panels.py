from __future__ import annotations

from mlsys.distance import baselines
from mlsys.distance.search import peers
from mlsys.report.charts import panels


def test_every_baseline_is_drawn() -> None:
    (panel,) = (one for one in panels.PANELS if one.members == tuple(baselines.names()))
    assert "numpy_native" in panel.members


def test_every_peer_of_search_is_drawn() -> None:
    assert set(panels.distance.PEERS) == set(peers.PEERS)
