"""What the search benchmark says and checks of rows that are spread over ranks; one process is the case of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys import progress
from mlsys.distance import distributed
from mlsys.distance.metrics import Metric, get
from mlsys.distance.search.reference import reference
from mlsys.ranks import Group
from mlsys.record import Scalar


def conditions(rows: int, device_name: str, group: Group) -> dict[str, Scalar]:
    """Who searches what, for the record and the console."""
    devices = distributed.places(device_name, group)
    shard_rows = -(-rows // group.size)
    progress.say(f"{group.size} ranks, {devices}, {shard_rows:.4g} rows on one at most")
    return {
        "ranks": group.size,
        "shard_rows": shard_rows,
        "rank_devices": devices,
        "rank_exchange": f"all_gather of keys and row numbers, {group.backend}",
        "latency_of": distributed.LATENCY_OF,
        "copy_bandwidth_of": distributed.copy_bandwidth_of(group),
    }


def reference_rows(
    queries: torch.Tensor, rows: torch.Tensor, k: int, metric: str | Metric, before: int, group: Group
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Row numbers (Q, k) of a float64 search of all ranks' rows: each reads its own, `before` of which others have.

    Merged as `reference` orders: nan last, equal distances by the lower row number.
    """
    keys, numbers = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    if len(rows):
        keys, numbers = reference(queries, rows, min(k, len(rows)), metric)
        if get(metric).larger_is_nearer:
            keys = -keys
    parts = group.exchange([keys.tolist(), (numbers + before).tolist()])
    every_key, every_number = (
        np.concatenate([np.array(part[side]).reshape(len(queries), -1) for part in parts], axis=1)
        for side in (0, 1)
    )
    order = np.argsort(every_key, axis=1, kind="stable")[:, :k]  # nan last, as in a sort by torch
    return np.take_along_axis(every_number, order, axis=1).astype(np.int64)
