"""vLLM's `bench serve --save-result`: one JSON object for one run at one rate or concurrency.

Source: vllm-project/vllm, `vllm/benchmarks/serve.py` (`result_json` of `main_async`, `result` of `benchmark`). There
`e2el` is a request's latency from sending, and `request_rate` is "inf" where only `max_concurrency` bounds requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from mlsys.formats.distributions import measured, model_of, times_ms, total
from mlsys.formats.foreign import Level, number
from mlsys.loadtest.rows import OK
from mlsys.record import Record, Scalar

TOOL = "vllm bench serve"
OURS = {"e2el": "e2e_ms", "ttft": "ttft_ms", "tpot": "tpot_ms", "itl": "itl_ms"}
PARTS = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
PERCENTILES = (90, 95, 99)
DATE = "%Y%m%d-%H%M%S"


def is_one(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a result."""
    return {"backend", "request_throughput", "completed", "total_token_throughput"} <= set(content)


def read(content: Mapping[str, Any], file: str) -> Level:
    """One level. Raises ValueError where what must be a number is none."""
    completed, throughput = number(content["completed"]), number(content["request_throughput"])
    if completed is None or throughput is None:
        raise ValueError("completed and request_throughput must be numbers")
    failed, rate = number(content.get("failed")), number(content.get("request_rate"))
    clients = number(content.get("max_concurrency"))
    requests = number(content.get("num_prompts")) if failed is None else completed + failed
    values: dict[str, Scalar] = _load(rate, clients, requests)
    values |= {
        "requests": requests,
        "succeeded": completed,
        "failed": None if requests is None else requests - completed,
        "success_rate": completed / requests if requests else None,
        "duration_s": number(content.get("duration")),
        "throughput_rps": throughput,
        "output_tokens_per_s": number(content.get("output_throughput")),
        "output_tokens.mean": _mean(content.get("total_output_tokens"), completed),
        "prompt_tokens.mean": _mean(content.get("total_input_tokens"), completed),
    }
    for theirs, ours in OURS.items():
        for part, name in PARTS.items():
            if (value := number(content.get(f"{part}_{theirs}_ms"))) is not None:
                values[f"{ours}.{name}"] = value
    return Level(
        (TOOL, str(content.get("model_id")), ""),
        "ttft_ms.mean" in values,
        values,
        file,
        _date(content.get("date")),
    )


def _load(rate: float | None, clients: float | None, requests: float | None) -> dict[str, Scalar]:
    """An open loop has a rate; without one all that is asked for at once is what bounds it."""
    if rate is not None:
        return {"offered_rate_rps": rate}
    most = clients if clients is not None else requests
    return {} if most is None else {"concurrency": int(most)}


def _mean(whole: Any, count: float) -> float | None:
    found = number(whole)
    return None if found is None or not count else found / count


def _date(text: Any) -> str | None:
    try:
        return datetime.strptime(str(text), DATE).astimezone(UTC).isoformat(timespec="milliseconds")
    except ValueError:
        return None


def written(entry: Record, level: int, requests: pd.DataFrame, detailed: bool) -> dict[str, Any]:
    """One level as `bench serve` would have saved it. `detailed`: with the lists of `--save-detailed`."""
    values, rows = entry.levels[level], measured(requests, level)
    good, load = rows[rows["outcome"] == OK], entry.config.get("loadtest") or {}
    read_tokens, wrote = total(rows, "prompt_tokens"), total(rows, "tokens")
    duration = number(values.get("duration_s"))
    rate = number(values.get("throughput_rps"))
    output = None if wrote is None or not len(good) or rate is None else rate * wrote / len(good)
    together = None if None in (read_tokens, wrote) else (read_tokens or 0) + (wrote or 0)
    server = entry.config.get("server") or {}
    content: dict[str, Any] = {
        "date": datetime.fromisoformat(entry.started_at).astimezone().strftime(DATE),
        "endpoint_type": server.get("api") or server.get("name"),
        "backend": server.get("api") or server.get("name"),
        "label": server.get("name"),
        "model_id": model_of(entry.config, entry.results),
        "tokenizer_id": None,
        "num_prompts": len(rows),
        "request_rate": values.get("offered_rate_rps", "inf"),
        "burstiness": 1.0 if load.get("name") == "poisson" else load.get("burstiness"),
        "max_concurrency": values.get("concurrency"),
        "duration": duration,
        "completed": len(good),
        "failed": len(rows) - len(good),
        "total_input_tokens": read_tokens,
        "total_output_tokens": wrote,
        "request_throughput": rate,
        "request_goodput": values.get("goodput_rps"),
        "output_throughput": output,
        "total_token_throughput": None if together is None or rate is None else rate * together / len(good),
        "max_concurrent_requests": None,
        "max_output_tokens_per_s": None,
    }
    content |= _times(rows)
    return content | (_details(rows) if detailed else {})


def _times(rows: pd.DataFrame) -> dict[str, Any]:
    names = {"e2e": "e2el"}
    found: dict[str, Any] = {}
    for name, values in times_ms(rows).items():
        theirs = names.get(name, name)
        if not len(values):
            continue
        found[f"mean_{theirs}_ms"] = float(np.mean(values))
        found[f"median_{theirs}_ms"] = float(np.median(values))
        found[f"std_{theirs}_ms"] = float(np.std(values))
        for percent in PERCENTILES:
            found[f"p{percent}_{theirs}_ms"] = float(np.percentile(values, percent))
    return found


def _details(rows: pd.DataFrame) -> dict[str, Any]:
    """A list entry for each request, in s; 0 for a time and a length that a failed request has not, as theirs."""
    good = rows["outcome"] == OK
    return {
        "input_lens": _whole(rows, "prompt_tokens"),
        "output_lens": _whole(rows, "tokens"),
        "ttfts": _seconds((rows["first_text_s"] - rows["sent_s"]).where(good)),
        "itls": [
            [] if gaps is None or not ok else [float(gap) / 1e3 for gap in gaps]
            for gaps, ok in zip(rows["itl_ms"], good, strict=True)
        ],
        "latencies": _seconds((rows["done_s"] - rows["sent_s"]).where(good)),
        "start_times": _seconds(rows["sent_s"]),
        "errors": ["" if ok else str(error) for ok, error in zip(good, rows["error"], strict=True)],
    }


def _whole(rows: pd.DataFrame, column: str) -> list[int | None]:
    if column not in rows:
        return [None] * len(rows)
    return [None if pd.isna(value) else int(value) for value in rows[column]]


def _seconds(values: Any) -> list[float]:
    return [0.0 if math.isnan(value) else float(value) for value in values.astype(float)]
