"""What else computes the same distance; each module is one name of `baselines=[…]` (see `mlsys.distance.baseline`)."""

from mlsys.distance import folder


def names() -> list[str]:
    """All baselines there are, by the modules of this folder. Costs no torch."""
    return folder.names(__path__)
