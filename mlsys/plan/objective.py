"""What is asked of a plan: a percentile within a limit, and what a replica costs, as typed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mlsys.errors import UserError

SLO = re.compile(r"\s*p(\d+(?:\.\d+)?)\s*<=?\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*(ms|s)?\s*")
PRICE = re.compile(r"\s*([\w-]+)\s*=\s*(\d+(?:\.\d+)?)\s*(?:/\s*h)?\s*")
FIGURES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Objective:
    """`figure` (`p95`) of the latency is at most `limit_ms`; a request that is refused or lost is above it."""

    figure: str
    limit_ms: float

    @property
    def share(self) -> float:
        """Of all requests that must be answered within the limit."""
        return float(self.figure[1:]) / 100

    @property
    def needs(self) -> int:
        """So many requests are simulated at least."""
        return max(2_000, math.ceil(50 / (1 - self.share)))

    @classmethod
    def read(cls, words: str) -> Objective:
        """`p95<2000`, `p99<=1.5s`. Raises UserError."""
        found = SLO.fullmatch(words)
        if not found or f"p{found[1]}" not in FIGURES:
            raise UserError(
                f"--slo={words} is no limit such as p95<2000 (ms); it may be of {', '.join(FIGURES)}"
            )
        limit_ms = float(found[2]) * (1e3 if found[3] == "s" else 1.0)
        if not 0 < limit_ms < math.inf:
            raise UserError(f"--slo={words}: the limit must be more than 0")
        return cls(f"p{found[1]}", limit_ms)

    def __str__(self) -> str:
        """As typed."""
        return f"{self.figure} <= {self.limit_ms:g} ms"


@dataclass(frozen=True)
class Price:
    """What a replica costs an hour; without a price, replicas are counted."""

    name: str = "replica"
    an_hour: float | None = None

    @classmethod
    def read(cls, words: str) -> Price:
        """`gpu=2.5/h`. Raises UserError."""
        found = PRICE.fullmatch(words)
        if not found or float(found[2]) <= 0:
            raise UserError(f"--cost={words} is no price such as gpu=2.5/h, of each replica and hour")
        return cls(found[1], float(found[2]))

    def of(self, replicas: int) -> float:
        """What so many cost."""
        return replicas * (1.0 if self.an_hour is None else self.an_hour)

    def told(self, replicas: int) -> str:
        """In words."""
        if self.an_hour is None:
            return f"{replicas} replica{'s' * (replicas != 1)}"
        return f"{self.of(replicas):g}/h ({replicas} × {self.name})"
