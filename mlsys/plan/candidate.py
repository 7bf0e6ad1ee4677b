"""One way to serve: the overrides that make it, as a configuration for the simulation and as a line to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import hydra

from mlsys import defaults
from mlsys.run import config, words
from mlsys.serving.options import Server

WORK = ("corpus", "embedder", "retriever", "reranker", "generator", "prompt")
PLAIN = ("device", "seed")
OWN = ("name", "port", "host", "api_key", "label", "max_tokens")  # of one server, and not of what it serves
SHARED = tuple(knob.name for knob in fields(Server) if knob.name not in OWN)
SIMPLE = re.compile(r"[\w./:+-]+")
PLAIN_WORD = re.compile(r"[\w./:+,\[\]-]*")
Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """`kind`: what plans are told apart by; `mode`: of a replica; `knobs`: overrides beyond server and replicas."""

    kind: str
    mode: str
    replicas: int
    knobs: tuple[tuple[str, Any], ...] = ()

    @property
    def overrides(self) -> dict[str, Any]:
        """What is to be chosen, in the order in which it is typed."""
        many = {"server": "lb", "server.replicas": self.replicas, "server.replica": self.mode}
        server = {"server": self.mode} if self.replicas == 1 else many
        return server | {
            name: value for name, value in self.knobs if self.replicas > 1 or "balancer" not in name
        }


def configured(base: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """The configuration with these overrides; what every server has stays as the record's was."""
    made = deepcopy(dict(base))
    for option, value in overrides.items():
        group, _, knob = option.partition(".")
        if knob:
            made[group][knob] = value
            continue
        kept = {name: made[group][name] for name in SHARED if group == "server" and name in made[group]}
        made[group] = defaults.section(group, value) | kept
    return made


def command(base: Mapping[str, Any], overrides: dict[str, Any]) -> str:
    """The line that runs it in real time, on what `base` (a record's configuration) ran on."""
    usual = _usual()
    chosen: dict[str, Any] = {name: base[name] for name in PLAIN if base.get(name) != usual[name]}
    for group in WORK:
        chosen |= _chosen(group, base.get(group) or {}, usual[group])
    service = defaults.section("server", "baseline")
    server = base["server"]
    kept = {
        f"server.{name}": server[name] for name in SHARED if server.get(name, service[name]) != service[name]
    }
    return " ".join(["python run.py", *(_word(*each) for each in (overrides | kept | chosen).items())])


@cache
def _usual(*overrides: str) -> dict[str, Any]:
    """What a run is without any other override."""
    config.register()
    with hydra.initialize_config_dir(str(defaults.conf()), version_base="1.3"):
        return config.resolved(hydra.compose("config", list(overrides)))


def _chosen(group: str, section: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The option and its knobs, as far as they are not what would be taken anyway."""
    name = section.get("name", usual.get("name"))
    option = {group: name} if name != usual.get("name") else {}
    if name in defaults.options(group):
        usual = _usual(f"{group}={name}")[group]
    elif name is not None:  # of the user's own folder
        return option
    return option | {f"{group}.{knob}": value for knob, value in _differing(section, usual)}


def _differing(section: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What differs of the knobs that there are; those of an older version are left out."""
    for knob, value in section.items():
        if isinstance(value, Mapping) and isinstance(usual.get(knob), Mapping):
            yield from ((f"{knob}.{name}", inner) for name, inner in _differing(value, usual[knob]))
        elif not knob.startswith("_") and knob != "name" and value != usual.get(knob, value):
            yield knob, value


def _word(option: str, value: Any) -> str:
    text = written(value)
    if isinstance(value, str) and not SIMPLE.fullmatch(text):
        return words.hint(f"{option}={text}")
    return shlex.quote(f"{option}={text}") if not PLAIN_WORD.fullmatch(text) else f"{option}={text}"


def written(value: Any) -> str:
    """As Hydra reads it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{written(one)}" for name, one in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)
