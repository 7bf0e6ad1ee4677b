"""Every request as a row, in memory and in `requests.parquet`."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

from mlsys.files import replacing

FILE_NAME = "requests.parquet"
OK, REJECTED, TIMED_OUT, FAILED = "ok", "rejected", "timed_out", "failed"
ABANDONED = "abandoned"  # a cool-down request that the client hung up on
LEFT = "left"  # the error of one whose client was told to leave


@dataclass(slots=True)
class Row:
    """One request. Times in s since the level began, which was at `started_at` (Unix time)."""

    level: int
    repeat: int
    id: int = 0
    phase: str = ""
    question: int = 0
    max_tokens: int | None = None  # the length that its answer was asked to have
    intended_s: float = 0.0
    sent_s: float = 0.0
    started_at: float = 0.0
    concurrency: int | None = None
    offered_rate_rps: float | None = None
    first_byte_s: float | None = None
    first_text_s: float | None = None  # where a stream was asked for: the first piece that has text
    done_s: float = 0.0
    outcome: str = FAILED
    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    resent: bool = False  # a kept connection had been closed: asked again on a new one
    queue_ms: float | None = None
    embed_ms: float | None = None
    retrieve_ms: float | None = None
    rerank_ms: float | None = None
    prompt_ms: float | None = None
    generate_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    respond_ms: float | None = None
    batch_size: int | None = None
    tokens: int | None = None
    tokens_estimated: bool = False  # the service tells no number: the pieces of its stream were counted
    prompt_tokens: int | None = None
    itl_ms: array[float] | None = None  # the time from each piece of a stream to the next
    answer: str | None = None  # the first 16 hex digits of the sha256 of the result
    hit: bool | None = None  # whether the passage that answers the question was among the retrieved
    met: bool | None = None  # whether the answer has what was expected of it, where something was
    session: int | None = None
    turn: int | None = None  # of the session, from 0
    replica: str | None = None
    request_id: str | None = None
    text: str | None = field(
        default=None, metadata={"written": False}
    )  # the answer, while its session goes on

    @property
    def error_kind(self) -> str | None:
        """What went wrong: `status_<code>`, `timeout`, `connection`, `stream` or `answer`; None: nothing."""
        if self.outcome in (OK, ABANDONED):
            return None
        if self.status not in (None, 200):
            return f"status_{self.status}"
        if self.outcome == TIMED_OUT:
            return "timeout"
        if self.status is None:
            return "connection"
        return "stream" if (self.error or "").startswith("the stream") else "answer"

    @property
    def e2e_ms(self) -> float:
        """From the intended time (in a closed loop that is the time of sending) to the whole answer."""
        return 1e3 * (self.done_s - self.intended_s)

    @property
    def ttft_ms(self) -> float | None:
        """From the intended time to the first text; where the answer came whole, to all of it."""
        return None if self.first_text_s is None else 1e3 * (self.first_text_s - self.intended_s)

    @property
    def tpot_ms(self) -> float | None:
        """Time per token after the first; None where there is no other, or all came at once."""
        if self.first_text_s is None or not self.itl_ms or (self.tokens or 0) < 2:
            return None
        return 1e3 * (self.done_s - self.first_text_s) / ((self.tokens or 0) - 1)

    @property
    def dispatch_delay_ms(self) -> float:
        """How late the client was in sending."""
        return 1e3 * (self.sent_s - self.intended_s)


DTYPES = {
    "int": "int64",
    "float": "float64",
    "str": "object",
    "bool": "boolean",
    "int | None": "Int64",
    "float | None": "float64",
    "str | None": "object",
    "bool | None": "boolean",
    "array[float] | None": "object",
}
DERIVED = ("e2e_ms", "ttft_ms", "tpot_ms", "dispatch_delay_ms")


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows with what is derived from them; columns and dtypes do not depend on the rows."""
    columns = {
        knob.name: pd.Series([getattr(row, knob.name) for row in rows], dtype=DTYPES[str(knob.type)])
        for knob in fields(Row)
        if knob.metadata.get("written", True)
    }
    for name in DERIVED:
        columns[name] = pd.Series([getattr(row, name) for row in rows], dtype="float64")
    return pd.DataFrame(columns)


def read(directory: Path) -> list[Row]:
    """What `write` wrote, to the bit. Without the texts of answers."""
    from pyarrow import parquet

    found = []
    for written in parquet.read_table(directory / FILE_NAME).drop(list(DERIVED)).to_pylist():
        gaps = written.pop("itl_ms")
        found.append(Row(**written, itl_ms=None if gaps is None else array("f", gaps)))
    return found


def write(directory: Path, rows: Sequence[Row]) -> Path:
    """Write `requests.parquet` in one step: what has been measured is never half there."""
    import pyarrow as pa
    from pyarrow import parquet

    gaps = [None if row.itl_ms is None else np.frombuffer(row.itl_ms, np.float32) for row in rows]
    flat = pa.Table.from_pandas(table(rows).drop(columns="itl_ms"), preserve_index=False)
    whole = flat.append_column("itl_ms", pa.array(gaps, pa.list_(pa.float32())))
    with replacing(directory / FILE_NAME) as beside:
        parquet.write_table(whole, beside)
    return directory / FILE_NAME
