"""From a configuration to what is measured: the only place that chooses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlsys import device, ranks, signatures
from mlsys.defaults import options
from mlsys.distance import baselines
from mlsys.errors import UserError
from mlsys.quantities import check_threads, parse_bytes
from mlsys.record import Workload

GROUPS = {
    "distance": ("metric", "reduction", "data"),
    "search": ("metric",),
    "pairs": ("metric",),
    "cdist": ("metric",),
    "serving": (
        *("server", "batching", "scheduling", "balancer", "loadtest", "fault"),
        *("corpus", "embedder", "retriever", "reranker", "generator"),
    ),
}
OVER_RANKS = ("distance", "search")  # what torchrun's processes can share
TYPED = (*GROUPS["distance"], *GROUPS["serving"], "tracking")  # whose classes say of which type each knob is


def build(config: dict[str, Any], directory: Path, asked: frozenset[str] = frozenset()) -> Workload:
    """The workload that `config` (resolved, plain values) asks for; files of its own go into `directory`.

    `asked`: the options that were given and are not defaults: what was given is done, or refused.
    """
    kind = workload_kind(config)
    if ranks.here().size > 1 and kind not in OVER_RANKS:
        raise UserError(f"workload={kind} runs in one process: start it without torchrun")
    _check_groups(config, kind)
    _check_counts(config)
    _check_baselines(config["baselines"])
    if kind == "serving":
        return serving(config, directory)
    if config["threads"]:
        import torch

        torch.set_num_threads(config["threads"])
    if kind == "tune":
        from mlsys.distance.tuner import Tuning

        return Tuning(device.resolve(config["device"]), directory)
    made = {"search": search, "pairs": pairs, "cdist": cdist}
    return made[kind](config) if kind in made else distance(config, asked)


def workload_kind(config: dict[str, Any]) -> str:
    """`distance`, `search`, `pairs`, `cdist`, `serving` or `tune`. Raises UserError where it and server disagree."""
    kind, served = str(config["workload"]), config["server"] is not None
    if kind == "auto":
        return "serving" if served else "distance"
    if (kind == "serving") != served:
        server = config["server"].get("name") if served else "none"
        raise UserError(f"workload={kind} does not go with server={server}")
    return kind


def serving(config: dict[str, Any], directory: Path) -> Workload:
    """The serving benchmark; the pieces that its server will choose are tried here, so that a mistake is found now."""
    from mlsys.loadtest.benchmark import ServingBenchmark

    for group in ("server", "batching", "scheduling", "balancer"):
        piece(config, group)
    if config["server"].get("export") is not None:
        from mlsys.serving.ray_serve.export import Export

        return Export(ServingBenchmark(config, directory).config)
    if config["clock"] == "virtual":
        from mlsys.virtual.benchmark import VirtualBenchmark

        return VirtualBenchmark(config, directory)
    return ServingBenchmark(config, directory)


def typed(config: dict[str, Any], named: Iterable[str] = ()) -> dict[str, Any]:
    """`config` with the knobs of the groups that will be built, and of those `named`, as their classes take them.

    Nothing is loaded. Raises UserError for a knob of another type.
    """
    built = GROUPS["distance" if config["server"] is None else "serving"]
    groups = [group for group in TYPED if group in (*built, *named, "tracking")]
    return config | {group: _typed(config, group) for group in groups}


def _typed(config: dict[str, Any], group: str) -> Any:
    section = config[group]
    if not isinstance(section, dict) or "_target_" not in section:  # no option is chosen, see _check_groups
        return section
    if group == "loadtest":
        from mlsys.loadtest.options import typed

        return typed(section)
    return signatures.check(group, section, signatures.named(group, section))


def piece(config: dict[str, Any], group: str) -> Any:
    """What `group` chooses, made from its knobs. Raises UserError naming the knob for a value of another type."""
    return signatures.make(group, config[group])


def distance(config: dict[str, Any], asked: frozenset[str] = frozenset()) -> Workload:
    """The distance benchmark."""
    import torch

    from mlsys.distance.benchmark import DistanceBenchmark

    return DistanceBenchmark(
        metric=piece(config, "metric"),
        reduction=piece(config, "reduction"),
        data=piece(config, "data"),
        n=config["n"],
        dtype=getattr(torch, config["dtype"]),
        device=device.resolve(config["device"]),
        placement=config["placement"],
        memory_budget=parse_bytes("memory_budget", config["memory_budget"]),
        baselines=config["baselines"],
        group=ranks.here(),
        asked=asked,
        **_timing(config),
    )


def search(config: dict[str, Any]) -> Workload:
    """The nearest-neighbour benchmark."""
    from mlsys.distance.search.benchmark import SearchBenchmark

    _check_random(config, "mlsys.distance.search takes arrays")
    return SearchBenchmark(
        metric=piece(config, "metric"),
        device=device.resolve(config["device"]),
        threads=config["threads"],
        placement=config["placement"],
        memory_budget=parse_bytes("memory_budget", config["memory_budget"]),
        group=ranks.here(),
        **config["search"],
        **_timing(config),
    )


def pairs(config: dict[str, Any]) -> Workload:
    """The benchmark of distances by rows."""
    from mlsys.distance.rows.benchmark import PairsBenchmark

    _check_random(config, "mlsys.distance.distance(x, y, dim=-1) takes arrays")
    return PairsBenchmark(**_of_rows(config), **config["pairs"], **_timing(config))


def cdist(config: dict[str, Any]) -> Workload:
    """The benchmark of the distances of all pairs."""
    from mlsys.distance.cross.benchmark import CdistBenchmark

    _check_random(config, "mlsys.distance.cdist takes arrays")
    return CdistBenchmark(**_of_rows(config), **config["cdist"], **_timing(config))


def _of_rows(config: dict[str, Any]) -> dict[str, Any]:
    return {"metric": piece(config, "metric"), "device": device.resolve(config["device"])}


def _check_random(config: dict[str, Any], way_out: str) -> None:
    if config["data"]["name"] != "random":
        raise UserError(
            f"data={config['data']['name']} does not go with workload={config['workload']}, which draws its own rows: "
            f"{way_out}"
        )


def _timing(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("repeats", "warmup", "time_limit_s", "seed")}


def _check_groups(config: dict[str, Any], kind: str) -> None:
    for group in GROUPS.get(kind, ()):
        if config[group] == {"name": "none"}:  # that there is none is a choice as well
            continue
        if not isinstance(config[group], dict) or not {"_target_", "name"} <= set(config[group]):
            raise UserError(
                f"{group} has values but no option is chosen: {group}={' or '.join(options(group))}"
            )


def _check_counts(config: dict[str, Any]) -> None:
    for name, least in (("repeats", 1), ("warmup", 0), ("seed", 0)):
        if config[name] < least:
            raise UserError(f"{name}={config[name]} must be at least {least}")
    if config["seed"] >= 2**63:
        raise UserError(f"seed={config['seed']} must be less than 2^63")
    check_threads("threads", config["threads"])
    if not 0 < config["time_limit_s"] < math.inf:
        raise UserError(f"time_limit_s={config['time_limit_s']} must be more than 0 and finite")


def _check_baselines(names: list[str]) -> None:
    there = baselines.names()
    for name in names:
        if name not in there:
            raise UserError(f"baselines=[{name}] is not a baseline; there are: {', '.join(there)}")
