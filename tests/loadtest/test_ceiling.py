from __future__ import annotations

from typing import Any

import pytest

from mlsys.loadtest.ceiling import batch_of


def config(server: dict[str, Any], max_size: int = 16) -> dict[str, Any]:
    scheduling = {"slots": server.pop("slots", None)}
    return {"server": server, "batching": {"max_size": max_size}, "scheduling": scheduling}


@pytest.mark.parametrize(
    ("server", "in_flight", "batch"),
    [
        ({"name": "baseline"}, 20, 1),
        ({"name": "queue"}, None, 1),
        ({"name": "batch"}, 5, 5),
        ({"name": "batch"}, 20, 16),
        ({"name": "batch"}, None, 16),
        ({"name": "lb", "replica": "batch", "replicas": 2, "backends": []}, 5, 3),
        ({"name": "lb", "replica": "batch", "replicas": 2, "backends": ["http://a"] * 4}, 20, 5),
        ({"name": "lb", "replica": "queue", "replicas": 2}, 20, 1),
        ({"name": "continuous"}, 20, 20),
        ({"name": "continuous", "slots": 4}, 20, 4),
        ({"name": "continuous"}, None, 16),
        ({"name": "continuous", "slots": 4}, None, 4),
        ({"name": "lb", "replica": "continuous", "replicas": 2}, 20, 10),
    ],
)
def test_the_batch_size_that_a_load_makes_possible(
    server: dict[str, Any], in_flight: int | None, batch: int
) -> None:
    assert batch_of(config(server), in_flight) == batch
