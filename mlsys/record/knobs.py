"""What a knob means to whoever compares runs: the one table that pages, names, findings and `mlsys.compare` read.

A knob means what the table says of it, else what it says of its group, else SETTING: how the work is done, which is
what comparisons compare and names name. So a new knob needs an entry only where it is something else.
"""

from __future__ import annotations

from enum import Enum, auto


class Meaning(Enum):
    """What two runs are to each other that differ in a knob."""

    WORK = auto()  # runs of other work: not to be compared
    SETTING = auto()  # two ways of doing the same: compared, and named by it
    CARE = auto()  # the same, measured with more or less care: not named by it
    REPEAT = auto()  # repeats of each other, with other care
    SILENT = auto()  # the same: where output goes, and how a configuration is written


MEANINGS = {
    "n": Meaning.WORK,
    "data": Meaning.WORK,
    "metric": Meaning.WORK,
    "search": Meaning.WORK,
    "search.screen": Meaning.SETTING,
    "search.peers": Meaning.CARE,
    "search.reference_queries": Meaning.CARE,
    "pairs": Meaning.WORK,
    "pairs.peers": Meaning.CARE,
    "pairs.reference_rows": Meaning.CARE,
    "cdist": Meaning.WORK,
    "cdist.peers": Meaning.CARE,
    "cdist.reference_rows": Meaning.CARE,
    "corpus": Meaning.WORK,
    "embedder": Meaning.WORK,
    "embedder.url": Meaning.SILENT,
    "embedder.start_timeout_s": Meaning.SILENT,
    "embedder.check_interval_s": Meaning.SILENT,
    "embedder.api_key": Meaning.SILENT,
    "generator.name": Meaning.WORK,
    "generator.model": Meaning.WORK,
    "generator.shape": Meaning.WORK,
    "generator.max_new_tokens": Meaning.WORK,
    "generator.distribution": Meaning.WORK,
    "generator.start_timeout_s": Meaning.SILENT,
    "generator.check_interval_s": Meaning.SILENT,
    "generator.api_key": Meaning.SILENT,
    "loadtest.name": Meaning.WORK,
    "loadtest.k": Meaning.WORK,
    "loadtest.output_tokens": Meaning.WORK,
    "loadtest.zipf_s": Meaning.WORK,
    "loadtest.questions": Meaning.WORK,
    "loadtest.turns": Meaning.WORK,
    "loadtest.think_time_s": Meaning.WORK,
    "loadtest.request_rate": Meaning.WORK,
    "loadtest.burstiness": Meaning.WORK,
    "loadtest.start_rate": Meaning.WORK,
    "loadtest.end_rate": Meaning.WORK,
    "loadtest.ramp_s": Meaning.WORK,
    "loadtest.rates": Meaning.WORK,
    "loadtest.step_s": Meaning.WORK,
    "loadtest.path": Meaning.WORK,
    "loadtest.speed": Meaning.WORK,
    "loadtest.time_unit": Meaning.WORK,
    "loadtest.columns": Meaning.WORK,
    "loadtest.prompts": Meaning.WORK,
    "loadtest.block_tokens": Meaning.WORK,
    "loadtest.max_input_tokens": Meaning.WORK,
    "loadtest.max_output_tokens": Meaning.WORK,
    "loadtest.requests": Meaning.CARE,
    "loadtest.processes": Meaning.CARE,
    "loadtest.confirm": Meaning.CARE,
    "loadtest.stall_s": Meaning.CARE,
    "loadtest.repeats": Meaning.CARE,
    "loadtest.warmup_requests": Meaning.CARE,
    "loadtest.duration_s": Meaning.CARE,
    "loadtest.quality_questions": Meaning.CARE,
    "loadtest.engine_ceiling": Meaning.CARE,
    "loadtest.engine_requests": Meaning.CARE,
    "fault.seed": Meaning.REPEAT,
    "baselines": Meaning.CARE,
    "repeats": Meaning.CARE,
    "warmup": Meaning.CARE,
    "seed": Meaning.REPEAT,
    "time_limit_s": Meaning.REPEAT,
    "compare": Meaning.REPEAT,
    "clock": Meaning.WORK,
    "tracking": Meaning.SILENT,
    "experiment": Meaning.SILENT,
    "size": Meaning.SILENT,
    "workload": Meaning.SILENT,
    "server.port": Meaning.SILENT,
    "server.app": Meaning.SILENT,
    "server.export": Meaning.SILENT,
}

# Results that tell what was done where the configuration leaves it open (a file's length, a model's revision).
RESULTS = ("data.x", "data.y", "pipeline.corpus", "pipeline.embedder", "pipeline.generator.model", "device")

SERVING = (
    "server",
    "batching",
    "scheduling",
    "balancer",
    "loadtest",
    "fault",
    "corpus",
    "embedder",
    "retriever",
    "reranker",
    "prompt",
    "generator",
    "clock",
    "cost",
)
VECTORS = ("reduction", "data", "n", "size", "dtype", "placement", "memory_budget", "baselines")
ROWS = {"search", "pairs", "cdist"}  # workloads with a group of their own
UNUSED = {
    "distance": {*ROWS, *SERVING},
    "search": {*VECTORS, *SERVING, *ROWS} - {"search", "placement", "memory_budget"},
    "pairs": {*VECTORS, *SERVING, *ROWS} - {"pairs"},
    "cdist": {*VECTORS, *SERVING, *ROWS} - {"cdist"},
    "serving": {*ROWS, "metric", "repeats", "warmup", "time_limit_s", "threads", *VECTORS},
}


def meaning(knob: str) -> Meaning:
    """What a knob (`loadtest.k`) means, by its own entry, its group's, or the default."""
    while knob not in MEANINGS and "." in knob:
        knob = knob.rpartition(".")[0]
    return MEANINGS.get(knob, Meaning.SETTING)


def tells_work(result: str) -> bool:
    """Whether runs that differ in this result did other work."""
    return result == "n" or result.startswith(RESULTS)


def is_setting(knob: str) -> bool:
    """Whether runs that differ in it are no repeats of each other."""
    return meaning(knob) not in (Meaning.REPEAT, Meaning.SILENT)


def is_care(knob: str) -> bool:
    """Whether it says with how much care something is measured, not what."""
    return meaning(knob) in (Meaning.CARE, Meaning.REPEAT)


def is_used(knob: str, workload: str) -> bool:
    """Whether a knob, or all of its group, bears on a workload."""
    return knob.partition(".")[0] not in UNUSED.get(workload, ())
