"""`embedder=openai`: vectors from a server that speaks OpenAI's API (`/v1/embeddings`), at an address."""

from __future__ import annotations

from typing import Any, Unpack

from mlsys.rag.embedder.remote import RemoteEmbedder, Texts
from mlsys.rag.upstream import Knobs
from mlsys.rag.upstream.openai import MODELS, Served, served
from mlsys.record import Scalar


class OpenAI(RemoteEmbedder):
    """`model` None: the one that the server has."""

    check_path, usual_path = MODELS, "/v1"

    def __init__(
        self,
        name: str,
        model: str | None,
        dim: int | None,
        normalize: bool,
        batch_size: int,
        query_prefix: str,
        passage_prefix: str,
        **knobs: Unpack[Knobs],
    ) -> None:
        texts = Texts(
            dim=dim, normalize=normalize, batch_size=batch_size,
            query_prefix=query_prefix, passage_prefix=passage_prefix,
        )  # fmt: skip
        super().__init__(name, texts, **knobs)
        self.model = model
        self._server: Served | None = None

    def _find(self) -> None:
        self._server = served(self.upstream, self.model, lists_all=False)  # some list what writes text

    def _asked(self, texts: list[str]) -> tuple[str, dict[str, Any]]:
        model = self.model if self._server is None else self._server.model
        return "/embeddings", {"model": model, "input": texts, "encoding_format": "float"}

    def _told(self, content: Any) -> list[Any]:
        by_place = {int(one["index"]): one["embedding"] for one in content["data"]}
        return [by_place[place] for place in range(len(content["data"]))]

    def _served(self) -> dict[str, Scalar]:
        return {"model": self.model} if self._server is None else self._server.describe()
