"""A service that will be broken: its configuration with proxies in between, and the scene of its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.faults import SERVICE, Fault
from mlsys.faults.conductor import Conductor
from mlsys.faults.detour import Detours
from mlsys.faults.scene import Scene, address_of, check, replicas
from mlsys.loadtest import service
from mlsys.loadtest.service import Target


def watched(config: Mapping[str, Any]) -> bool:
    """Whether levels are watched for what they do to the service."""
    return (config.get("fault") or {"name": "none"}) != {"name": "none"}


def planned(config: Mapping[str, Any]) -> list[Fault]:
    """The run's faults in the order of their beginning; none by default. Raises UserError for what makes no sense."""
    section = config.get("fault") or {"name": "none"}
    if not watched(config):
        return []
    faults: list[Fault] = signatures.make("fault", section).plan()
    for fault in faults:
        check(fault, config)
    loadtest = config["loadtest"]
    if loadtest["name"] == "none":
        raise UserError(f"fault={section['name']} needs a load: loadtest=none sends none")
    if loadtest.get("repeats", 1) != 1:
        raise UserError(
            f"fault={section['name']} breaks a level once: loadtest.repeats={loadtest['repeats']} must be 1"
        )
    return faults


@contextmanager
def running(
    config: Mapping[str, Any], directory: Path, faults: list[Fault]
) -> Iterator[tuple[Target, Conductor]]:
    """The service, with detours wherever a fault needs one; the target is what the load is sent to."""
    server = config["server"]
    names, given = replicas(server), bool(server.get("backends"))
    environment = dict[str, str]()
    for fault in faults:
        environment |= fault.environment(str(directory))
    ways = {fault.way for fault in faults}
    with Detours() as detours:
        if names and "replica" in ways:
            places = {
                name: partial(str, name) if given else partial(address_of, directory, name) for name in names
            }
            via = {name: detours.add(name, place).url for name, place in places.items()}
            config = {**config, "server": {**server, "via": {**server["via"], **via}}}
        with service.running(config, directory, environment) as target:
            process = target.process
            scene = Scene(directory, target.url, process.pid if process else None, names, detours, given)
            if "client" in ways or ("replica" in ways and not names):
                target.url = detours.add(SERVICE, partial(str, target.url)).url
            yield target, Conductor(faults, scene)
