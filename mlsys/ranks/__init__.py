"""The processes that torchrun started, and what they ask of each other; one process is the case without others.

Rank 0 leads: it alone runs Hydra, records and prints, and hands each job's configuration to the others, which build
the same workload and measure with it (`mlsys.run.follower`). `mlsys.ranks.torchrun` carries what they tell each
other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlsys.ranks.group import SINGLE, VARIABLES, Group, LostRank, RankError

__all__ = ["SINGLE", "Group", "LostRank", "RankError", "here", "rank", "size", "together"]

_here: list[Group] = [SINGLE]


def size() -> int:
    """How many ranks torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in VARIABLES) else 1


def rank() -> int:
    """Which of them this process is; 0 is the one that records and prints."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def here() -> Group:
    """The ranks that this process is one of."""
    return _here[0]


@contextmanager
def together() -> Iterator[Group]:
    """Join the ranks that torchrun started. At the end, but for an interrupt, rank 0 lets the others go."""
    if size() == 1:
        yield SINGLE
        return
    from mlsys.ranks.torchrun import TorchrunGroup

    joined, interrupted = TorchrunGroup(), False
    _here[:] = [joined]
    try:
        yield joined
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        if not interrupted:
            joined.end()
