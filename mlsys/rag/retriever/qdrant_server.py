"""A Qdrant server. A finished collection has an alias made of its digest; one that was changed has lost it.

So the next run finds whole and unchanged collections only, and another run's points are never touched.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlsys import keys, progress
from mlsys.errors import UserError, cause
from mlsys.rag.retriever import Rows
from mlsys.rag.retriever.store import chunks
from mlsys.record import Scalar

POINTS = 1000  # in a request
POLL_S, OPTIMIZE_TIMEOUT_S = 0.2, 3600.0


class Server:
    """The server at `url`; `client` takes the place of a connection in tests."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, client: Any = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"retriever.url={url} must begin with http:// or https://")
        self.url, self._key, self._timeout_s = url, keys.read(api_key, "retriever.api_key"), timeout_s
        self._made, self._collection, self._alias = client, "", ""

    @property
    def client(self) -> Any:
        """The connection, made when first needed."""
        if self._made is None:
            from qdrant_client import QdrantClient

            self._made = QdrantClient(
                url=self.url,
                api_key=self._key,
                timeout=round(max(1, self._timeout_s)),
                check_compatibility=False,
            )
        return self._made

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what the client raises into one line that names the server."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of a server that is none the client raises what it likes
            raise UserError(f"retriever.url={self.url}: {cause(error)}") from error

    def open(
        self, alias: str, rows: Rows, sources: Sequence[str], distance: str, graph: dict[str, int]
    ) -> float | None:
        """Use the collection of that alias, or build it. Gives the seconds that this took, None where it was there."""
        self._alias = alias
        for known in self.client.get_aliases().aliases:
            if known.alias_name == alias:
                self._collection = known.collection_name
                if (count := self.client.count(self._collection).count) != len(rows):
                    raise UserError(
                        f"retriever.url={self.url}: {self._collection} has {count} points, not {len(rows)}: delete it"
                    )
                return None
        started = time.perf_counter()
        self._collection = f"{alias[:24]}-{uuid.uuid4().hex[:8]}"
        self._build(rows, sources, distance, graph)
        self._rename(create=True)
        return round(time.perf_counter() - started, 3)

    def _build(self, rows: Rows, sources: Sequence[str], distance: str, graph: dict[str, int]) -> None:
        from qdrant_client import models

        self.client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=rows.shape[1], distance=models.Distance(distance)),
            hnsw_config=models.HnswConfigDiff(**graph, full_scan_threshold=10) if graph else None,
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=10 if graph else 0),
        )
        self.client.create_payload_index(self._collection, "source", models.PayloadSchemaType.KEYWORD)
        for part in chunks(f"qdrant: sending {len(rows)} points", len(rows), POINTS):
            self.upsert(rows[part], range(part.start, part.stop), sources[part])
        until = time.monotonic() + OPTIMIZE_TIMEOUT_S
        with progress.step(f"qdrant: optimizing {len(rows)} points"):
            while self.client.get_collection(self._collection).status != models.CollectionStatus.GREEN:
                if time.monotonic() > until:
                    raise UserError(
                        f"retriever.url={self.url}: still optimizing after {OPTIMIZE_TIMEOUT_S:g} s"
                    )
                time.sleep(POLL_S)

    def unname(self) -> None:
        """Take the alias away before the first change. The changed collection stays, under its own name."""
        if self._alias:
            self._rename(create=False)
            self._alias = ""

    def _rename(self, create: bool) -> None:
        from qdrant_client import models

        made = models.CreateAlias(collection_name=self._collection, alias_name=self._alias)
        gone = models.DeleteAlias(alias_name=self._alias)
        self.client.update_collection_aliases(
            [models.CreateAliasOperation(create_alias=made)]
            if create
            else [models.DeleteAliasOperation(delete_alias=gone)]
        )

    def upsert(self, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
        """Add points, and wait until they can be found."""
        from qdrant_client import models

        points = [
            models.PointStruct(id=key, vector=vector, payload={"source": source})
            for key, vector, source in zip(ids, rows.tolist(), sources, strict=True)
        ]
        self.client.upsert(self._collection, points, wait=True)

    def delete(self, ids: list[int]) -> None:
        """Forget points."""
        from qdrant_client import models

        self.client.delete(self._collection, models.PointIdsList(points=ids), wait=True)

    def query(
        self, queries: Rows, k: int, ef: int | None, sources: list[str] | None
    ) -> list[list[tuple[int, float]]]:
        """(id, score) of each query's nearest, all queries in one request."""
        from qdrant_client import models

        where = None
        if sources is not None:
            match = models.MatchAny(any=sources)
            where = models.Filter(must=[models.FieldCondition(key="source", match=match)])
        how = models.SearchParams(hnsw_ef=ef, exact=ef is None)
        asked = [
            models.QueryRequest(query=query, limit=k, filter=where, params=how) for query in queries.tolist()
        ]
        found = self.client.query_batch_points(self._collection, requests=asked)
        return [[(int(point.id), float(point.score)) for point in one.points] for one in found]

    def describe(self) -> dict[str, Scalar]:
        """The address, the collection and what the server says it is."""
        version = getattr(self.client.info(), "version", None)
        return {"url": self.url, "collection": self._collection, "server_version": version}
