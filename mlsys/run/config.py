"""The configuration's schema and resolvers: what may be written, and of which type.

`register()` stores the whole configuration's schema under `schema/`, where no sweep over a group's options can meet it.
The groups need none: the class that an option names with `_target_` says what its knobs are (`mlsys.signatures`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from mlsys import keys, ranks
from mlsys.defaults import ROOT, conf, options
from mlsys.distance.baselines import names
from mlsys.distance.cross.options import CdistOptions
from mlsys.distance.rows.options import PairsOptions
from mlsys.distance.search.options import SearchOptions
from mlsys.quantities import whole
from mlsys.rag.options import PromptOptions


class WorkloadKind(Enum):
    """What is measured. `auto`: the server where one is chosen, else the distance."""

    auto = "auto"
    distance = "distance"
    search = "search"
    pairs = "pairs"
    cdist = "cdist"
    serving = "serving"
    tune = "tune"


class Dtype(Enum):
    """Element types of vectors."""

    float64 = "float64"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"
    int8 = "int8"


class Device(Enum):
    """Where distances are computed."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Placement(Enum):
    """Where vectors lie while they are measured."""

    device = "device"
    host = "host"


class Clock(Enum):
    """Whose time a serving run takes."""

    real = "real"
    virtual = "virtual"


@dataclass
class Compare:
    """How the variants of a sweep are measured against each other."""

    interleave: bool = False  # run the variants in turn, round after round, so that drift hits all alike
    rounds: int = 3


@dataclass
class Config:
    """The whole configuration; `conf/config.yaml` explains each value."""

    metric: Any = MISSING
    reduction: Any = MISSING
    data: Any = MISSING
    server: Any = None
    batching: Any = MISSING
    scheduling: Any = MISSING
    balancer: Any = MISSING
    loadtest: Any = MISSING
    fault: Any = MISSING
    corpus: Any = MISSING
    embedder: Any = MISSING
    retriever: Any = MISSING
    reranker: Any = MISSING
    generator: Any = MISSING
    tracking: Any = MISSING
    workload: WorkloadKind = WorkloadKind.auto
    size: float = MISSING
    n: int = MISSING
    dtype: Dtype = MISSING
    device: Device = MISSING
    placement: Placement = MISSING
    memory_budget: str = MISSING
    baselines: list[str] = field(default_factory=list)
    repeats: int = MISSING
    warmup: int = MISSING
    time_limit_s: float = MISSING
    seed: int = MISSING
    threads: int | None = None
    clock: Clock | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    prompt: PromptOptions = field(default_factory=PromptOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    pairs: PairsOptions = field(default_factory=PairsOptions)
    cdist: CdistOptions = field(default_factory=CdistOptions)
    compare: Compare = field(default_factory=Compare)


def register() -> None:
    """Store the schemas and register the resolvers; call it once, before Hydra composes."""
    ConfigStore.instance().store(group="schema", name="config", node=Config)
    resolvers: dict[str, Callable[..., Any]] = {
        "whole": whole,
        "slug": slug,
        "outputs": outputs,
        "ranks": ranks_suffix,
        "groups": groups,
        "baselines": lambda: " ".join(names()),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def help_text() -> str:
    """What --help says: the template of conf/config.yaml. Hydra's own way copies every schema for every group."""
    read = OmegaConf.load(conf() / "config.yaml")
    return str(read.hydra.help.template).rstrip()


def slug(text: str) -> str:
    """A readable directory name for a job's overrides: the same overrides, the same directory; others, another."""
    text = keys.hide(text)
    name = re.sub(r"[^\w.=,+-]+", "_", text)
    if name == text and 0 < len(name) <= 100 and name.strip("."):
        return name
    return f"{name[:90] or 'default'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def outputs() -> str:
    """Where results go: `MLSYS_OUTPUTS`, or `outputs/` beside run.py, whatever directory the command runs in.

    Without a checkout, `outputs/` in the directory where the command runs.
    """
    home = ROOT if conf().parent == ROOT else Path.cwd()
    return os.environ.get("MLSYS_OUTPUTS") or str(home / "outputs")


def ranks_suffix() -> str:
    """What torchrun's number of ranks adds to a job's directory name: runs with other numbers lie beside it."""
    return f",ranks={ranks.size()}" if ranks.size() > 1 else ""


def groups() -> str:
    """The groups of conf/ and their options, a line each, for --help."""
    rows = []
    for group in sorted(path for path in conf().iterdir() if path.is_dir()):
        if there := options(group.name):
            rows.append(f"  {group.name:<12} {' '.join(there)}")
    return "\n".join(rows)


def resolved(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, every interpolation carried out."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, enum_to_str=True))
