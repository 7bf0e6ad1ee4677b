"""`embedder=tei`: vectors from Hugging Face's text-embeddings-inference (`/embed`), at an address."""

from __future__ import annotations

from typing import Any, Unpack

from mlsys.errors import UserError
from mlsys.rag.embedder.remote import RemoteEmbedder, Texts
from mlsys.rag.upstream import Knobs
from mlsys.rag.upstream.errors import plain
from mlsys.rag.upstream.openai import UNKNOWN
from mlsys.record import Scalar

# The record's names, and those of TEI's `/info`.
FACTS = {"model": "model_id", "revision": "model_sha", "dtype": "model_dtype", "server_version": "version"}


class Tei(RemoteEmbedder):
    """`truncate`: what is longer than the model reads is cut off there; false: refused, and its request fails."""

    check_path = "/health"

    def __init__(
        self,
        name: str,
        truncate: bool,
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
        self.truncate = truncate
        self._info: dict[str, Any] = {}

    def _find(self) -> None:
        info = self.upstream.told(f"{self.upstream.base}/info")
        self._info = info if isinstance(info, dict) else {}
        most = self._info.get("max_client_batch_size")
        if isinstance(most, int) and 0 < most < self.batch_size:
            raise UserError(
                f"embedder.batch_size={self.batch_size}: {self.upstream.name} takes {most} at most"
            )

    def _asked(self, texts: list[str]) -> tuple[str, dict[str, Any]]:
        normalize = self._texts["normalize"]
        return "/embed", {"inputs": texts, "normalize": normalize, "truncate": self.truncate}

    def _told(self, content: Any) -> list[Any]:
        if not isinstance(content, list):
            raise TypeError("the answer is no list")
        return content

    def _served(self) -> dict[str, Scalar]:
        told: dict[str, Scalar] = {
            name: plain(str(self._info[fact])) if self._info.get(fact) is not None else UNKNOWN
            for name, fact in FACTS.items()
        }
        missing = ", ".join([*(name for name, value in told.items() if value == UNKNOWN), "hardware"])
        longest = self._info.get("max_input_length")
        return {**told, "server": "tei", "max_input_length": longest, "not_known": missing}
