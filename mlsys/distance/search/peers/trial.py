"""The first call of each peer: whether it can, what it computes, and how much of the true answer it finds."""

from __future__ import annotations

from typing import Any

from mlsys.distance.search.peers import PEERS, Peer, Problem
from mlsys.distance.search.reference import recall
from mlsys.errors import one_line
from mlsys.record import Scalar


def tried(
    names: list[str], problem: Problem, sample: Any, wanted: Any
) -> tuple[dict[str, Peer], dict[str, Scalar]]:
    """Those that can search `problem`, with what the record says of each: expression and recall, or why it cannot.

    wanted: row numbers (S, k) of a float64 search for the queries (S,) numbered by `sample`.
    """
    peers: dict[str, Peer] = {}
    values: dict[str, Scalar] = {}
    for name in names:
        try:
            peer = PEERS[name](problem)
            result = peer.call()
            found = peer.found(result)[sample] if peer.found is not None else None
        except Exception as error:  # whatever fails in another's library is told, and the others are measured
            values[f"baseline.{name}.error"] = one_line(error)
            continue
        peers[name] = peer
        values[f"baseline.{name}.expression"] = peer.expression
        if found is not None:
            values[f"baseline.{name}.recall"] = recall(found, wanted)
    return peers, values
