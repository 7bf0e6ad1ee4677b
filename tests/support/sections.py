"""What the YAML files say, as a run would have it: tests change knobs of that, and repeat no default."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from functools import cache
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from mlsys import defaults, signatures
from mlsys.loadtest import options
from mlsys.loadtest.arrivals import make
from mlsys.run import config

SIMULATED = ("corpus=animals", "embedder=hashing", "generator=simulated", "device=cpu")


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(defaults.conf()), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def configuration(*overrides: str) -> DictConfig:
    """What Hydra makes of a command line. It takes a tenth of a second, so each is composed once in a process."""
    return deepcopy(_composed(overrides))


def composed(*overrides: str, **sections: dict[str, Any]) -> dict[str, Any]:
    """The resolved configuration of a command line, with other knobs in some of its sections."""
    plain = config.resolved(configuration("tracking=off", *overrides))
    for group, knobs in sections.items():
        plain[group].update(knobs)
    return plain


@cache
def _alone(group: str, name: str) -> DictConfig:
    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(defaults.conf()), version_base="1.3"):
        return hydra.compose(None, [f"+{group}={name}"])


def section(option: str, /, **knobs: Any) -> dict[str, Any]:
    """What `option` (`batching/size`) says, with other knobs. Without the other groups, which take their time."""
    group, name = option.split("/")
    return {**config.resolved(_alone(group, name))[group], **knobs}


def made(option: str, /, **knobs: Any) -> Any:
    """The object that `option` names, made as a run makes it."""
    return signatures.make(option.split("/")[0], section(option, **knobs))


def load(**knobs: Any) -> dict[str, Any]:
    """What `loadtest` says that every kind of load has, with other knobs."""
    common, _ = options.split(section("loadtest/closed", **knobs))
    assert common is not None
    return asdict(common)


def arrivals(name: str, /, **knobs: Any) -> Any:
    """The arrivals of `loadtest=name`."""
    return make(options.split(section(f"loadtest/{name}", **knobs))[1])


def simulated(server: str, load: str = "closed", /, **sections: dict[str, Any]) -> dict[str, Any]:
    """A serving run whose models cost what a test says, on the CPU."""
    return composed(f"server={server}", f"loadtest={load}", *SIMULATED, **sections)
