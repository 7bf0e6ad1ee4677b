"""A level's requests by the others' definitions: all times from the moment of sending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK

Values = NDArray[np.float64]


def measured(requests: pd.DataFrame, level: int) -> pd.DataFrame:
    """The measured requests of one level, in the order of sending."""
    found = requests[(requests["level"] == level) & (requests["phase"] == MEASURED)]
    return found.sort_values(["repeat", "sent_s"])


def times_ms(rows: pd.DataFrame) -> dict[str, Values]:
    """`e2e`, `ttft`, `tpot` and `itl` of the answered requests, in ms; empty where answers did not stream."""
    good = rows[rows["outcome"] == OK]
    e2e = 1e3 * (good["done_s"] - good["sent_s"])
    streamed = good[good["first_text_s"].notna() & good["itl_ms"].notna()]
    ttft = 1e3 * (streamed["first_text_s"] - streamed["sent_s"])
    several = streamed[streamed["tokens"].fillna(0) > 1]
    tpot = 1e3 * (several["done_s"] - several["first_text_s"]) / (several["tokens"] - 1)
    gaps = [np.asarray(gap, np.float64) for gap in streamed["itl_ms"]]
    return {
        "e2e": np.asarray(e2e, np.float64),
        "ttft": np.asarray(ttft, np.float64),
        "tpot": np.asarray(tpot, np.float64),
        "itl": np.concatenate(gaps) if gaps else np.empty(0),
    }


def model_of(config: Mapping[str, Any], results: Mapping[str, Any]) -> str | None:
    """What the answers came from: the model that was asked, else the generator's."""
    generator = config.get("generator") or {}
    server = config.get("server") or {}
    told = results.get("service.model") or results.get("pipeline.generator.model")
    named = server.get("model") if server.get("name") == "external" else generator.get("name")
    found = told or named
    return None if found is None else str(found)


def total(rows: pd.DataFrame, column: str) -> int | None:
    """The sum over answered requests; None where one of them does not tell."""
    if column not in rows:
        return None
    found = rows.loc[rows["outcome"] == OK, column]
    return None if found.empty or found.isna().any() else int(found.sum())
