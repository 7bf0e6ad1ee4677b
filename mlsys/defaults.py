"""What the YAML files of `conf/` say, for who needs it without Hydra: where they are, and one option's knobs."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent


def conf() -> Path:
    """Where the YAML files are: beside run.py in a checkout, inside the package where a wheel was installed."""
    return ROOT / "conf" if (ROOT / "run.py").is_file() else PACKAGE / "conf"


def options(group: str) -> list[str]:
    """The options of a group, in their order; empty where there is no such group."""
    return sorted(path.stem for path in (conf() / group).glob("[!_]*.yaml")) if group.isidentifier() else []


def section(group: str, option: str) -> dict[str, Any]:
    """The knobs of one option, those of its bases (`defaults: [_base, _self_]`) among them."""
    own = _read(group, option)
    knobs: dict[str, Any] = {}
    for base in own.pop("defaults", ["_self_"]):
        knobs |= own if base == "_self_" else section(group, base)
    return knobs


def _read(group: str, name: str) -> dict[str, Any]:
    path = conf() / group / f"{name}.yaml"
    return deepcopy(_parsed(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=64)
def _parsed(path: Path, changed_at: int) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
