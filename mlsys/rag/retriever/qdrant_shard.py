"""Qdrant's engine within this process: one shard in a folder. Several processes may read it, none may change it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mlsys import progress
from mlsys.rag.retriever import Rows
from mlsys.rag.retriever.store import chunks

NEVER = 10**9  # KB: a segment of which size is given a graph, or split
POINTS = 2000  # at a time


class Shard:
    """The shard of a folder, opened. Raises what the library raises where it is no shard."""

    def __init__(self, path: Path) -> None:
        from qdrant_edge import EdgeShard

        if not (path / "edge_config.json").is_file():
            raise ValueError("no shard is there")
        self._shard: Any = EdgeShard.load(str(path))

    @staticmethod
    def build(path: Path, rows: Rows, sources: Sequence[str], distance: str, graph: dict[str, int]) -> None:
        """Write a shard into a new folder; without `graph` its points are only compared one by one."""
        edge: Any = import_module("qdrant_edge")
        path.mkdir()
        vectors = edge.EdgeVectorParams(size=rows.shape[1], distance=getattr(edge.Distance, distance))
        optimizers = edge.EdgeOptimizersConfig(
            indexing_threshold=1 if graph else NEVER, default_segment_number=1, max_segment_size=NEVER
        )
        hnsw = edge.HnswIndexConfig(full_scan_threshold=1, **graph) if graph else None
        config = edge.EdgeConfig(
            vectors=vectors, hnsw_config=hnsw, optimizers=optimizers, wal_enabled=False
        )  # a write-ahead log would let one process in
        shard = edge.EdgeShard.create(str(path), config)
        upsert(shard, rows, range(len(rows)), sources)
        shard.update(edge.UpdateOperation.create_field_index("source", edge.PayloadSchemaType.Keyword))
        with progress.step(f"qdrant: optimizing {len(rows)} points"):
            shard.optimize()
        shard.flush()
        shard.close()

    def shape(self) -> tuple[int, int]:
        """How many points there are, and of how many numbers."""
        edge: Any = import_module("qdrant_edge")
        (vector,) = self._shard.retrieve([0], False, True)
        return self._shard.count(edge.CountRequest(exact=True)), len(vector.vector)

    def upsert(self, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
        """Add points, which are compared one by one until the shard is optimized."""
        upsert(self._shard, rows, ids, sources)
        self._shard.flush()

    def delete(self, ids: list[int]) -> None:
        """Forget points."""
        edge: Any = import_module("qdrant_edge")
        self._shard.update(edge.UpdateOperation.delete_points(ids))
        self._shard.flush()

    def query(
        self, queries: Rows, k: int, ef: int | None, sources: list[str] | None
    ) -> list[list[tuple[int, float]]]:
        """(id, score) of each query's nearest, all queries in one plan."""
        import qdrant_edge as edge

        where = None
        if sources is not None:
            where = edge.Filter(must=[edge.FieldCondition(key="source", match=edge.MatchAny(sources))])
        how = edge.SearchParams(hnsw_ef=ef, exact=ef is None)
        asked = [
            edge.QueryRequest(query=edge.Query.Nearest(query), limit=k, filter=where, params=how)
            for query in queries.tolist()
        ]
        found = self._shard.query_batch(edge.QueryBatchRequest(asked))
        return [[(int(point.id), float(point.score)) for point in points] for points in found]


def upsert(shard: Any, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
    """Add points, some at a time."""
    import qdrant_edge as edge

    for part in chunks(f"qdrant: storing {len(rows)} points", len(rows), POINTS):
        given = zip(ids[part], rows[part].tolist(), sources[part], strict=True)
        points = [edge.Point(key, vector, {"source": source}) for key, vector, source in given]
        shard.update(edge.UpdateOperation.upsert_points(points))
