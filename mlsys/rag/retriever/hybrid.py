"""`retriever=hybrid`: two retrievers, joined by reciprocal rank fusion: Σ 1 / (rank_constant + rank).

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"
(2009).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Unpack

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever import Found, Reader, Retriever, Rows, find, needs_vectors
from mlsys.rag.retriever.store import Common, Store, check_from, packed
from mlsys.record import Scalar


class Hybrid(Store):
    """`depth`: passages taken from each; `first`, `second`: the sections of the two, each as its own YAML has it."""

    def __init__(
        self,
        depth: int,
        rank_constant: int,
        first: dict[str, Any],
        second: dict[str, Any],
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_from("depth", depth, 1)
        check_from("rank_constant", rank_constant, 1)
        self.depth, self.rank_constant = depth, rank_constant
        self.parts: dict[str, Retriever] = {
            "first": signatures.make("retriever.first", first),
            "second": signatures.make("retriever.second", second),
        }
        if any(isinstance(part, Hybrid) for part in self.parts.values()):
            raise UserError("retriever=hybrid joins two retrievers, and none of them may be hybrid")
        for part in self.parts.values():
            self.needs(*(part.modules if isinstance(part, Store) else ()))
        self.needs_vectors = any(map(needs_vectors, self.parts.values()))

    def read(self, passages: Sequence[Passage]) -> None:
        """Hand the passages on."""
        super().read(passages)
        for part in self.parts.values():
            if isinstance(part, Reader):
                part.read(passages)

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        for part in self.parts.values():
            part.load(rows, device, digest)
        built = [part.cost["build_s"] for part in self.parts.values() if isinstance(part, Store)]
        taken = [float(one) for one in built if one is not None]
        self._build_s = sum(taken) if taken else None

    def _bytes(self) -> int | None:
        sizes = [part.cost["bytes"] for part in self.parts.values() if isinstance(part, Store)]
        return None if None in sizes else sum(int(size or 0) for size in sizes)

    def search_texts(self, texts: Sequence[str], queries: Rows, k: int) -> Found:
        """(Q, k) sums of reciprocal ranks, largest first, and row numbers; -1 where neither found more."""
        depth = min(max(self.depth, k), self.count)
        lists = [find(part, texts, queries, depth)[1].tolist() for part in self.parts.values()]
        return packed([self._fused(ranked) for ranked in zip(*lists, strict=True)], k)

    def _fused(self, ranked: Sequence[list[int]]) -> list[tuple[int, float]]:
        sums: dict[int, float] = defaultdict(float)
        for rows in ranked:
            for rank, row in enumerate(rows, 1):
                if row >= 0:
                    sums[row] += 1 / (self.rank_constant + rank)
        return list(sums.items())

    def search(self, queries: Rows, k: int) -> Found:
        """As `search_texts`. Raises UserError where one of the two searches by words."""
        return self.search_texts([""] * len(queries), queries, k)

    def describe(self) -> dict[str, Scalar]:
        """The fusion, and what each of the two says."""
        described = self.described(depth=self.depth, rank_constant=self.rank_constant, updates=False)
        for place, part in self.parts.items():
            described[f"{place}.name"] = part.name
            described |= {f"{place}.{name}": value for name, value in part.describe().items()}
        return described
