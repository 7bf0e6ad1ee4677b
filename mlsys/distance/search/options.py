"""The knobs of `workload=search`: plain values under `search`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Storage(Enum):
    """What rows and queries are stored in; distances are always computed from it in float64."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Screen(Enum):
    """What the rows are screened with before those that may be near are recomputed from `storage`."""

    none = "none"
    int8 = "int8"


@dataclass
class SearchOptions:
    """`python run.py workload=search search.queries=256 search.rows=1e6 search.dim=384 search.k=10 metric=l2`."""

    queries: float = 16  # searched at once
    rows: float = 1e5  # of the database; whole numbers: 1e6, 1_000_000
    dim: int = 384
    k: int = 10  # nearest rows that are found for each query
    storage: Storage = Storage.float32
    screen: Screen = (
        Screen.none
    )  # int8: a copy of the rows in 8 bits proposes, on a GPU; the answer is the same
    # measured in the same run, where they can and are installed: all that there are
    peers: list[str] = field(
        default_factory=lambda: [
            "torch_matmul_topk",
            "torch_cdist_topk",
            "torch_matmul",
            "flashlib",
            "jax",
            "cuvs",
            "faiss",
            "usearch",
            "numkong",
            "scipy_cdist",
        ]
    )
    reference_queries: int = 4  # compared with a float64 search of every row
