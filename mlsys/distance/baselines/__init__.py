"""What else computes the same distance; each module is one name of `baselines=[…]` (see `mlsys.distance.baseline`)."""
