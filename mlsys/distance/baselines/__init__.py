"""What else computes the same distance; each module is one name of `baselines=[…]` (see `mlsys.distance.baseline`)."""

from pathlib import Path


def names() -> list[str]:
    """All baselines there are, by the modules of this folder. Costs no torch."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
