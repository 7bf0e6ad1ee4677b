"""A record's configuration as today's options would have it: what was renamed, moved or added since is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys import defaults

USUAL = {
    "server": "queue",
    "batching": "hybrid",
    "scheduling": "fcfs",
    "balancer": "round_robin",
    "loadtest": "closed",
    "corpus": "pydocs",
    "generator": "simulated",
}


def renewed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with every knob of the options it names. Knobs that are no more are left out."""
    found = {"seed": 0, "device": "cpu", "cost": {}, "prompt": {"order": "score"}, **config}
    for group, usual in USUAL.items():
        given = found.get(group) or {}
        name = given.get("name", usual)
        known = defaults.section(group, name if name in defaults.options(group) else usual)
        found[group] = known | {
            knob: value for knob, value in given.items() if knob in known and knob != "_target_"
        }
    return found
