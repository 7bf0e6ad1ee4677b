"""Vector distances on CPUs and GPUs: `distance(x, y, "cosine")`, and the parts of which it is made."""

from mlsys.distance.plan import Plan, distance, plan
from mlsys.distance.reference import Reference, reference
from mlsys.distance.stream import StreamPlan, stream

__all__ = ["Plan", "Reference", "StreamPlan", "distance", "plan", "reference", "stream"]
