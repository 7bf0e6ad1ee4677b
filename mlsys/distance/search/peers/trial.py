"""The first call of each peer: whether it can, what it computes, and how much of the true answer it finds."""

from __future__ import annotations

import time
from typing import Any

from mlsys import progress
from mlsys.distance.search.peers import PEERS, Peer, Problem
from mlsys.distance.search.reference import recall
from mlsys.errors import one_line
from mlsys.record import Scalar


def tried(
    names: list[str], problem: Problem, sample: Any, wanted: Any
) -> tuple[dict[str, Peer], dict[str, Scalar]]:
    """Those that can search `problem`, with what the record says of each, or why it cannot.

    It says the expression, the recall and `first_call_ms`: what the peer compiles, builds and copies beforehand.

    wanted: row numbers (S, k) of a float64 search for the queries (S,) numbered by `sample`.
    """
    peers: dict[str, Peer] = {}
    values: dict[str, Scalar] = {}
    with progress.step(f"first calls of {', '.join(names)}", total=len(names)) as step:
        for name in names:
            start = time.perf_counter()
            try:
                peer = PEERS[name](problem)
                result = peer.call()
                found = peer.found(result)[sample] if peer.found is not None else None
            except Exception as error:  # of another's library: it is told, and the others are measured
                values[f"baseline.{name}.error"] = one_line(error)
                continue
            finally:
                step.advance()
            peers[name] = peer
            values[f"baseline.{name}.expression"] = peer.expression
            values[f"baseline.{name}.first_call_ms"] = 1e3 * (time.perf_counter() - start)
            if found is not None:
                values[f"baseline.{name}.recall"] = recall(found, wanted)
    return peers, values
