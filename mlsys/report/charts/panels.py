"""The one list of panels: the local page and the W&B workspace both draw these, from the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlsys.distance import baselines
from mlsys.stages import STAGES

Kind = Literal["line", "bars", "stack", "histogram", "parallel", "distribution", "timeline"]


@dataclass(frozen=True)
class Panel:
    """What one plot shows.

    `x`, `y`, `color` and `limit` are keys of `mlsys.report.rows` (`config.` keys, result and level names); a
    `y` may hold a `*`, for which `members` stand where names must be given beforehand (W&B). Points of the same
    `color` value share a colour; whatever else differs between runs is told apart by line and marker. `limit` names
    results that are drawn as a dashed line: what the machine or the engine can do at best. `above` explains
    a figure beyond that limit, where one is drawn. `needs`: a key without which the panel would say nothing new.
    """

    name: str
    workload: str
    title: str
    about: str
    kind: Kind
    x: str
    y: tuple[str, ...]
    color: str
    unit: str
    limit: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    reference: float | None = None
    members: tuple[str, ...] = ()
    above: str = ""
    needs: str = ""


BASELINES = tuple(baselines.names())
PEERS = ("torch_matmul_topk", "torch_cdist_topk", "torch_matmul", "faiss", "scipy_cdist")
ROW_PEERS = ("torch", "torch_compile", "numpy")
CROSS_PEERS = ("torch_cdist", "torch_float64", "scipy")
METRIC, SERVER = "config.metric.name", "config.server.name"

PANELS: tuple[Panel, ...] = (
    Panel(
        name="bandwidth",
        workload="distance",
        title="Bandwidth against size",
        about="Bytes of both vectors over the median cold-cache time. Dashed: this machine's copy, same run.",
        kind="line",
        x="n",
        y=("bandwidth_gbps",),
        color=METRIC,
        unit="GB/s",
        limit=("copy_bandwidth_gbps",),
        above="Above the dashed line: a cache held the vectors, or reading alone is faster than a copy.",
        log_x=True,
    ),
    Panel(
        name="latency",
        workload="distance",
        title="Latency against size",
        about="Median of the repeats with a cold cache. Where lines are flat, launching costs more.",
        kind="line",
        x="n",
        y=("latency_ms",),
        color=METRIC,
        unit="ms",
        log_x=True,
        log_y=True,
    ),
    Panel(
        name="speedup",
        workload="distance",
        title="Speed-up over the baselines",
        about="Baseline's median over ours, timed in turn in the same run. Below 1 the baseline is faster.",
        kind="bars",
        x="n",
        y=("speedup.*",),
        color=METRIC,
        unit="×",
        reference=1.0,
        members=BASELINES,
    ),
    Panel(
        name="error",
        workload="distance",
        title="Relative error",
        about="Against a float64 reference; for dot relative to Σ|x·y|. An exact answer is drawn at 1e-17.",
        kind="line",
        x="n",
        y=("relative_error",),
        color=METRIC,
        unit="",
        log_x=True,
        log_y=True,
    ),
    Panel(
        name="search_latency",
        workload="search",
        title="Search latency against queries",
        about="Median time for all queries of a call.",
        kind="line",
        x="queries",
        y=("latency_ms",),
        color=METRIC,
        unit="ms",
        log_x=True,
        log_y=True,
    ),
    Panel(
        name="search_speedup",
        workload="search",
        title="Search speed-up over the baselines",
        about="Baseline's median over ours, same queries and rows. Below 1 the baseline is faster.",
        kind="bars",
        x="queries",
        y=("speedup.*",),
        color=METRIC,
        unit="×",
        reference=1.0,
        members=PEERS,
    ),
    Panel(
        name="pairs_bandwidth",
        workload="pairs",
        title="Bandwidth of rows against their length",
        about="Bytes of both matrices over the median cold-cache time. Dashed: this machine's copy, same run.",
        kind="line",
        x="dim",
        y=("bandwidth_gbps",),
        color=METRIC,
        unit="GB/s",
        limit=("copy_bandwidth_gbps",),
        above="Above the dashed line: a cache held the rows, or reading alone is faster than a copy.",
        log_x=True,
    ),
    Panel(
        name="pairs_speedup",
        workload="pairs",
        title="Speed-up by rows over the baselines",
        about="Baseline's median over ours, same rows. Below 1 the baseline is faster.",
        kind="bars",
        x="dim",
        y=("speedup.*",),
        color=METRIC,
        unit="×",
        reference=1.0,
        members=ROW_PEERS,
    ),
    Panel(
        name="cdist_speedup",
        workload="cdist",
        title="Speed-up of all pairs over the baselines",
        about="Baseline's median over ours, same rows. Below 1 the baseline is faster.",
        kind="bars",
        x="rows",
        y=("speedup.*",),
        color=METRIC,
        unit="×",
        reference=1.0,
        members=CROSS_PEERS,
    ),
    Panel(
        name="throughput",
        workload="serving",
        title="Throughput against load",
        about="Checked answers a second. Dashed: the bare engine at this load's batch size, same run.",
        kind="line",
        x="load",
        y=("throughput_rps",),
        color=SERVER,
        unit="req/s",
        limit=("engine_ceiling_rps",),
        above="Above the dashed line: the engine was timed briefly, so a few per cent are its own spread.",
    ),
    Panel(
        name="percentiles",
        workload="serving",
        title="Latency against load",
        about="p50 solid (●), p95 dashed (■), p99 dotted (◆, from 100 requests on). Open loop: from the intended time.",
        kind="line",
        x="load",
        y=("e2e_ms.p50", "e2e_ms.p95", "e2e_ms.p99"),
        color=SERVER,
        unit="ms",
    ),
    Panel(
        name="theory",
        workload="serving",
        title="Measured and predicted",
        about="Mean latency. Measured solid (●); the form with what the service adds dashed (■), alone dotted (◆).",
        kind="line",
        x="load",
        y=("theory.measured.mean_ms", "theory.expected.mean_ms", "theory.mean_ms"),
        color=SERVER,
        unit="ms",
    ),
    Panel(
        name="ttft",
        workload="serving",
        title="Time to first token against load",
        about="p50 solid (●), p95 dashed (■), of streamed answers. Modes that do not stream give all text at the end.",
        kind="line",
        x="load",
        y=("ttft_ms.p50", "ttft_ms.p95"),
        color=SERVER,
        unit="ms",
    ),
    Panel(
        name="tpot",
        workload="serving",
        title="Time per output token against load",
        about="p50 solid (●), p95 dashed (■): the time after the first text, for each further token of an answer.",
        kind="line",
        x="load",
        y=("tpot_ms.p50", "tpot_ms.p95"),
        color=SERVER,
        unit="ms",
    ),
    Panel(
        name="output_tokens",
        workload="serving",
        title="Output tokens a second against load",
        about="Tokens of checked answers: where they differ in length, requests a second alone do not tell the work.",
        kind="line",
        x="load",
        y=("output_tokens_per_s",),
        color=SERVER,
        unit="tokens/s",
        needs="config.loadtest.output_tokens",
    ),
    Panel(
        name="stages",
        workload="serving",
        title="Where the time goes",
        about="Mean time of a request in each stage; outside: network and client. They add up to the mean latency.",
        kind="stack",
        x="load",
        y=("stage_ms.*.mean", "outside_ms.mean"),
        color=SERVER,
        unit="ms",
        members=STAGES,
    ),
    Panel(
        name="latency_spread",
        workload="serving",
        title="How latency is spread",
        about="Share of requests in each of ten bins a decade, at each run's highest load, without the warm-up.",
        kind="distribution",
        x="load",
        y=("e2e_ms.hist.*",),
        color=SERVER,
        unit="share",
    ),
    Panel(
        name="ttft_spread",
        workload="serving",
        title="How the time to first token is spread",
        about="Share of streamed requests in each of ten bins a decade, at each run's highest load.",
        kind="distribution",
        x="load",
        y=("ttft_ms.hist.*",),
        color=SERVER,
        unit="share",
    ),
    Panel(
        name="itl_spread",
        workload="serving",
        title="How the gaps between pieces of text are spread",
        about="Every gap of every streamed answer, at each run's highest load. Long ones are pauses that are seen.",
        kind="distribution",
        x="load",
        y=("itl_ms.hist.*",),
        color=SERVER,
        unit="share",
    ),
    Panel(
        name="timeline",
        workload="serving",
        title="Latency in the course of a level",
        about="Medians by when requests were due, at each run's highest load. Latency solid, first token dashed.",
        kind="timeline",
        x="load",
        y=("e2e_ms", "ttft_ms"),
        color=SERVER,
        unit="ms",
    ),
    Panel(
        name="batch_sizes",
        workload="serving",
        title="Batch sizes",
        about="Batches by their size, at each run's highest load. One shared with the warm-up counts in part.",
        kind="histogram",
        x="load",
        y=("batch_size.hist.*",),
        color=SERVER,
        unit="batches",
    ),
    Panel(
        name="closed_by",
        workload="serving",
        title="Why batches closed",
        about="Full, window ended, worker idle, or budget spent. Counted with the warm-up, so more than above.",
        kind="stack",
        x="load",
        y=("closed_by.*",),
        color=SERVER,
        unit="batches",
        members=("full", "deadline", "idle", "budget"),
    ),
    Panel(
        name="memory",
        workload="serving",
        title="Prompts read before, and memory in use",
        about="Solid (●): share of prompt tokens that a cache of prefixes had. Dashed (■): share of KV slots held.",
        kind="line",
        x="load",
        y=("prefix.hit_rate", "kv_usage.mean"),
        color=SERVER,
        unit="share",
    ),
    Panel(
        name="success",
        workload="serving",
        title="Success rate and goodput",
        about="Solid (●): share of requests with a checked answer. Dashed (■): share that also met the objective.",
        kind="line",
        x="load",
        y=("success_rate", "goodput"),
        color=SERVER,
        unit="share",
    ),
    Panel(
        name="policy",
        workload="serving",
        title="Settings and what they bring",
        about="One line a load level. Drag along an axis to keep only the lines that pass there.",
        kind="parallel",
        x="load",
        y=("config.batching.max_size", "config.batching.timeout_ms", "load", "e2e_ms.p95", "throughput_rps"),
        color=SERVER,
        unit="",
    ),
)


def of(workload: str) -> tuple[Panel, ...]:
    """The panels of one workload, in the order in which they are read."""
    return tuple(panel for panel in PANELS if panel.workload == workload)


def names(panel: Panel) -> list[str]:
    """The panel's `y` with members in the place of each `*`."""
    return [y.replace("*", member) for y in panel.y for member in (panel.members if "*" in y else ("",))]
