"""What torchrun's ranks above 0 do: measure their part of each job, silently, writing nothing."""

from __future__ import annotations

from pathlib import Path

from mlsys import progress
from mlsys.ranks import Group, LostRank


def follow(group: Group) -> None:
    """Take part in rank 0's jobs until it has no more. Raises LostRank if it goes without a word."""
    from mlsys.run.build import build

    progress.console.quiet = True
    for config in group.configurations():
        try:
            with group.part():
                for _ in build(config, Path()).measure():
                    pass
        except LostRank:
            raise
        except Exception:
            continue  # rank 0 has been told and says it
