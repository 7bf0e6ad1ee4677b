"""AIPerf's `profile_export_aiperf.json`: one object for one run, each metric with its unit and statistics.

Source: ai-dynamo/aiperf, `src/aiperf/common/models/export_models.py` (`JsonExportData`, schema 1.0) and
`docs/tutorials/working-with-profile-exports.md`. Its `inter_token_latency` is what is called TPOT here, its
`inter_chunk_latency` what is called ITL. `request_latency` counts from sending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlsys.formats.distributions import Values, measured, model_of, times_ms, total
from mlsys.formats.foreign import Level, number
from mlsys.loadtest.rows import OK
from mlsys.record import Record, Scalar

TOOL = "aiperf"
FILE_NAME = "profile_export_aiperf.json"
SCHEMA = "1.0"
TIMES = {
    "request_latency": "e2e_ms",
    "time_to_first_token": "ttft_ms",
    "inter_token_latency": "tpot_ms",
    "inter_chunk_latency": "itl_ms",
}
TO_MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "ns": 1e-6}
PARTS = {"avg": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "max": "max"}
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
ENDPOINTS = {"openai": "chat", "completions": "completions", "embeddings": "embeddings"}


def is_one(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a result."""
    return all(isinstance(content.get(name), Mapping) for name in ("request_throughput", "request_latency"))


def read(content: Mapping[str, Any], file: str) -> Level:
    """One level. Raises ValueError where its throughput or its latency is no number."""
    throughput = _of(content, "request_throughput")
    good, bad = _of(content, "request_count"), _of(content, "error_request_count") or 0.0
    if throughput is None or _of(content, "request_latency") is None:
        raise ValueError("request_throughput.avg and request_latency.avg must be numbers")
    asked = _part(content, "input_config")
    endpoint, load = _part(asked, "endpoint"), _part(asked, "loadgen")
    clients, rate = number(load.get("concurrency")), number(load.get("request_rate"))
    values: dict[str, Scalar] = {}
    if rate is not None:
        values["offered_rate_rps"] = rate
    elif clients is not None:
        values["concurrency"] = int(clients)
    values |= {
        "requests": None if good is None else good + bad,
        "succeeded": good,
        "failed": None if good is None else bad,
        "success_rate": good / (good + bad) if good else None,
        "duration_s": _of(content, "benchmark_duration"),
        "throughput_rps": throughput,
        "output_tokens_per_s": _of(content, "output_token_throughput"),
        "output_tokens.mean": _of(content, "output_sequence_length"),
        "prompt_tokens.mean": _of(content, "input_sequence_length"),
    }
    for theirs, ours in TIMES.items():
        values |= _times(_part(content, theirs), ours)
    models = endpoint.get("model_names")
    model = str(models[0]) if isinstance(models, list) and models else "None"
    started = content.get("start_time")
    return Level(
        (TOOL, model, str(endpoint.get("url") or "")),
        "ttft_ms.mean" in values,
        values,
        file,
        started if isinstance(started, str) else None,
        asked.get("cli_command") if isinstance(asked.get("cli_command"), str) else None,
    )


def _times(metric: Mapping[str, Any], ours: str) -> dict[str, Scalar]:
    factor = TO_MS.get(str(metric.get("unit")))
    if factor is None:
        return {}
    found = {name: number(metric.get(part)) for part, name in PARTS.items()}
    return {f"{ours}.{name}": factor * value for name, value in found.items() if value is not None}


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = content.get(name)
    return part if isinstance(part, Mapping) else {}


def _of(content: Mapping[str, Any], name: str) -> float | None:
    return number(_part(content, name).get("avg"))


def written(entry: Record, level: int, requests: pd.DataFrame, detailed: bool) -> dict[str, Any]:
    """One level as AIPerf would have exported it; what is not known is left out, as there. It has no lists."""
    values, rows = entry.levels[level], measured(requests, level)
    good = rows[rows["outcome"] == OK]
    times = times_ms(rows)
    wrote, asked = total(rows, "tokens"), total(rows, "prompt_tokens")
    rate = number(values.get("throughput_rps"))
    metrics: dict[str, Any] = {
        "request_throughput": _single("requests/sec", rate),
        "request_latency": _metric("ms", times["e2e"]),
        "request_count": _single("requests", float(len(good))),
        "error_request_count": _single("requests", float(len(rows) - len(good)) or None),
        "time_to_first_token": _metric("ms", times["ttft"]),
        "inter_token_latency": _metric("ms", times["tpot"]),
        "inter_chunk_latency": _metric("ms", times["itl"]),
        "output_sequence_length": _metric("tokens", _tokens(good, "tokens")),
        "input_sequence_length": _metric("tokens", _tokens(good, "prompt_tokens")),
        "output_token_throughput": _single(
            "tokens/sec", None if wrote is None or rate is None else rate * wrote / len(good)
        ),
        "goodput": _single("requests/sec", number(values.get("goodput_rps"))),
        "benchmark_duration": _single("sec", number(values.get("duration_s"))),
        "total_osl": _single("tokens", None if wrote is None else float(wrote)),
        "total_isl": _single("tokens", None if asked is None else float(asked)),
    }
    return {
        "schema_version": SCHEMA,
        "benchmark_id": f"{entry.config_digest[:32]}-{level}",
        **{name: metric for name, metric in metrics.items() if metric is not None},
        "was_cancelled": False,
        "error_summary": _errors(rows),
        "start_time": entry.started_at,
        "end_time": entry.finished_at,
        "input_config": _input_config(entry, level),
    }


def _single(unit: str, value: float | None) -> dict[str, Any] | None:
    return None if value is None else {"unit": unit, "avg": value}


def _metric(unit: str, values: Values) -> dict[str, Any] | None:
    if not len(values):
        return None
    percentiles = zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    return {
        "unit": unit,
        "avg": float(np.mean(values)),
        **{f"p{percent}": float(value) for percent, value in percentiles},
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "std": float(np.std(values)),
    }


def _tokens(good: pd.DataFrame, column: str) -> Values:
    return np.asarray(good[column].dropna() if column in good else [], np.float64)


def _errors(rows: pd.DataFrame) -> list[dict[str, Any]]:
    bad = rows[rows["outcome"] != OK]
    told = zip(bad["outcome"], bad["status"], bad["error"], strict=True)
    counted = Counter((str(o), None if pd.isna(s) else int(s), str(e)) for o, s, e in told)
    return [
        {
            "error_details": {
                "code": status,
                "type": outcome,
                "message": error,
            },
            "count": count,
        }
        for (outcome, status, error), count in counted.items()
    ]


def _input_config(entry: Record, level: int) -> dict[str, Any]:
    server, load = entry.config.get("server") or {}, entry.config.get("loadtest") or {}
    values = entry.levels[level]
    asked = {"concurrency": values.get("concurrency"), "request_rate": values.get("offered_rate_rps")}
    model = model_of(entry.config, entry.results)
    return {
        "endpoint": {
            "model_names": [] if model is None else [model],
            "type": ENDPOINTS.get(str(server.get("api")), "template"),
            "streaming": bool(load.get("stream")),
            "url": server.get("url"),
        },
        "loadgen": {name: value for name, value in asked.items() if value is not None},
        "cli_command": " ".join(entry.command),
    }
