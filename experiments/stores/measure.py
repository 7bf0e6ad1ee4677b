"""Recall against latency and throughput of every store: python experiments/stores/measure.py 1e5 records/1e5.json

The first argument is `pydocs` (passages and questions of this Python, embedded by MiniLM) or a number of made vectors:
384 dimensions, clustered, of length 1. Each store has a process of its own, so that memory is its own. Indexes are
built on all cores and searched on one, to which all threads are bound. Queries a second are those of the fastest tenth
of the calls: what other programs take from the core is no property of a store. `--pgvector URL` measures pgvector too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from data import Data, option

from mlsys.rag.retriever import find

K, BATCH, FEWEST, MEASURED_S, MOST_S = 10, 64, 10, 1.0, 60.0
UPDATED = 1000
FEWEST_SWEPT = 5000  # among fewer rows every graph finds nearly all
# name: option, its knobs, and the knob that trades recall for speed
STORES: dict[str, tuple[str, dict[str, Any], tuple[str, list[int]] | None]] = {
    "exact": ("exact", {}, None),
    "faiss flat": ("faiss", {}, None),
    "faiss hnsw": ("faiss", {"index": "hnsw"}, ("ef_search", [10, 20, 40, 80, 160, 320])),
    "usearch exact": ("usearch", {"index": "exact"}, None),
    "usearch hnsw": ("usearch", {}, ("expansion_search", [10, 20, 40, 80, 160, 320])),
    "sqlite_vec": ("sqlite_vec", {}, None),
    "qdrant flat": ("qdrant", {"index": "flat"}, None),
    "qdrant hnsw": ("qdrant", {}, ("hnsw_ef", [10, 20, 40, 80, 160, 320])),
    "lancedb flat": ("lancedb", {}, None),
    "lancedb ivf_pq": ("lancedb", {"index": "ivf_pq"}, ("nprobes", [1, 2, 5, 10, 20, 50])),
    "pgvector flat": ("pgvector", {"index": "flat"}, None),
    "pgvector hnsw": ("pgvector", {}, ("ef_search", [10, 20, 40, 80, 160, 320])),
    "bm25": ("bm25", {}, None),
    "hybrid": ("hybrid", {}, None),
}
WORDS = ("bm25", "hybrid")  # which need texts


def bind(store: Any) -> None:
    """Search with one thread, and every thread of this process on one core, the last."""
    import faiss
    import torch

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    if hasattr(store, "_threads"):
        store._threads = 1
    core = {max(os.sched_getaffinity(0))}
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), core)


def timed(store: Any, data: Data, batch: int) -> list[float]:
    """Milliseconds of each call with `batch` queries, for some seconds; fewer calls where one takes many."""
    calls: list[float] = []
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < MEASURED_S or (len(calls) < FEWEST and took < MOST_S):
        first = 37 * len(calls) % (len(data.queries) - batch + 1)
        before = time.perf_counter()
        find(store, data.texts[first : first + batch], data.queries[first : first + batch], K)
        calls.append(1000 * (time.perf_counter() - before))
    return calls


def found(store: Any, data: Data, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(count, K) the rows found for the first queries."""
    parts = [
        find(store, data.texts[i : i + BATCH], data.queries[i : min(i + BATCH, count)], K)[1]
        for i in range(0, count, BATCH)
    ]
    return np.concatenate(parts)[:count]


def one(name: str, data: Data, questions: int, pgvector: str | None) -> list[dict[str, Any]]:
    """The figures of one store, at each value of its knob."""
    choice, knobs, swept = STORES[name]
    knobs = {**knobs, **({"url": pgvector, "timeout_s": 7200.0} if choice == "pgvector" else {})}
    questions = min(questions, len(data.queries))
    exact = option("retriever/exact")
    exact.load(data.rows, "cpu", "")
    nearest = found(exact, data, questions)
    del exact
    points: list[dict[str, Any]] = []
    for value in swept[1] if swept and len(data.rows) >= FEWEST_SWEPT else [None]:
        store = option(f"retriever/{choice}", **knobs, **({swept[0]: value} if swept and value else {}))
        if data.passages:
            store.read(data.passages)
        store.load(data.rows, "cpu", data.digest)
        cost = store.cost if not points else points[0]["cost"]
        bind(store)
        got = found(store, data, questions)
        shared = [len({*a} & {*b}) for a, b in zip(got.tolist(), nearest.tolist(), strict=True)]
        calls, batches = timed(store, data, 1), timed(store, data, BATCH)
        points.append(
            {
                "store": name,
                "knob": f"{swept[0]}={value}" if swept and value else "",
                "recall": sum(shared) / (K * questions),
                "hit_rate": float((got == np.array(data.right)[:questions, None]).any(axis=1).mean())
                if data.right
                else None,
                "calls": len(calls),
                f"calls_batch_{BATCH}": len(batches),
                "latency_ms_p10": float(np.percentile(calls, 10)),
                "latency_ms_p25": float(np.percentile(calls, 25)),
                "latency_ms_p50": float(np.median(calls)),
                "latency_ms_p75": float(np.percentile(calls, 75)),
                "queries_per_s": 1000 / float(np.percentile(calls, 10)),
                f"queries_per_s_batch_{BATCH}": 1000 * BATCH / float(np.percentile(batches, 10)),
                "cost": cost,
                "describe": store.describe(),
            }
        )
    points[0]["updates"] = updates(store, data)
    return points


def updates(store: Any, data: Data) -> dict[str, float] | None:
    """Milliseconds a row of adding and removing `UPDATED` rows; the first also pays for a copy of its own."""
    if not hasattr(store, "add") or len(data.rows) < UPDATED:
        return None
    ids = list(range(len(data.rows), len(data.rows) + UPDATED))
    first = time.perf_counter()
    store.add(data.rows[:1], ids[:1])
    second = time.perf_counter()
    store.add(data.rows[1:UPDATED], ids[1:])
    third = time.perf_counter()
    store.remove(ids)
    took = {"first_ms": second - first, "add_ms": (third - second) / UPDATED}
    took["remove_ms"] = (time.perf_counter() - third) / UPDATED
    return {what: 1000 * seconds for what, seconds in took.items()}


def main() -> None:
    """Measure the stores that were asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what")
    options.add_argument("out", type=Path)
    options.add_argument("--stores", default=",".join(STORES))
    options.add_argument("--questions", type=int, default=500)
    options.add_argument("--pgvector")
    options.add_argument(
        "--data", type=Path, help="measure one store in this process, with the data of this folder"
    )
    asked = options.parse_args()
    if asked.data:
        data = Data.read(asked.data)
        asked.out.write_text(json.dumps(one(asked.stores, data, asked.questions, asked.pgvector)))
        return
    with TemporaryDirectory() as folder:
        Data(asked.what).write(Path(folder))
        every(asked, folder)


def every(asked: argparse.Namespace, folder: str) -> None:
    """Each store in a process of its own; what was measured is written after each."""
    results = json.loads(asked.out.read_text()) if asked.out.exists() else []
    for name in asked.stores.split(","):
        if (name in WORDS and asked.what != "pydocs") or (name.startswith("pgvector") and not asked.pgvector):
            continue
        part = asked.out.with_suffix(".part")
        given = ["--stores", name, "--questions", str(asked.questions), "--data", folder]
        given += ["--pgvector", asked.pgvector] if asked.pgvector else []
        started = time.perf_counter()
        subprocess.run([sys.executable, __file__, asked.what, str(part), *given], check=True)
        points = json.loads(part.read_text())
        results = [point for point in results if point["store"] != name] + points
        asked.out.write_text(json.dumps(results, indent=1) + "\n")
        part.unlink()
        for point in points:
            print(
                f"{name:15} {point['knob']:22} recall {point['recall']:.3f} "
                f"{point['queries_per_s']:8.0f} queries/s, {point['latency_ms_p50']:.2f} ms",
                flush=True,
            )
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
