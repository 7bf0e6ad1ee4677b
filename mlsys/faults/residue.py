"""What a service holds: processes, threads, open files, sockets and requests in flight, before a load and after it.

Connections that a balancer keeps open to its replicas are no residue: they are kept on purpose.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from mlsys.faults.scene import Scene, address_of

SETTLE_S = 5.0
POLL_S = 0.1


@dataclass(frozen=True)
class Held:
    """Counts at one moment; `in_flight` of the service and, as its balancer sees it, of its replicas.

    `memory_mib`: resident, of all of its processes. Threads, files and sockets are those of its own process.
    """

    processes: int
    threads: int
    files: int
    sockets: int
    in_flight: int
    memory_mib: float = 0.0
    cpu_s: float = 0.0

    def beyond(self, before: Held) -> dict[str, int]:
        """`residual.<what>`: how many more than before; requests in flight as they are."""
        names = ("processes", "threads", "files", "sockets")
        more = {f"residual.{name}": max(0, getattr(self, name) - getattr(before, name)) for name in names}
        return more | {"residual.in_flight": self.in_flight}


def held(scene: Scene) -> Held | None:
    """None where the service is not ours, or is gone."""
    if scene.pid is None:
        return None
    try:
        own = psutil.Process(scene.pid)
        family = [own, *own.children(recursive=True)]
        kept, sockets = _kept(scene), own.net_connections(kind="tcp")
        theirs = [one for one in sockets if one.raddr and one.raddr.port not in kept]
        internal = sum(bool(one.raddr) and one.raddr.port in kept for one in sockets)
        files = own.num_fds() - len(theirs) - internal
        cpu_s = sum(own.cpu_times()[:2])
        memory_mib = sum(process.memory_info().rss for process in family) / 2**20
        return Held(
            len(family), own.num_threads(), files, len(theirs), _in_flight(scene.look()), memory_mib, cpu_s
        )
    except psutil.Error:
        return None


def settled(scene: Scene, before: Held | None) -> dict[str, int]:
    """What is held beyond `before` once the load is gone, or is still held some seconds later."""
    until, after = time.monotonic() + SETTLE_S, held(scene)
    while before is not None and after is not None:
        found = after.beyond(before)
        if not any(found.values()) or time.monotonic() > until:
            return found
        time.sleep(POLL_S)
        after = held(scene)
    return {}


def _kept(scene: Scene) -> set[int]:
    """The ports of replicas and of the detours to them."""
    places = [detour.url for detour in scene.detours.by_name.values()]
    for name in scene.replicas:
        try:
            places.append(name if scene.given else address_of(scene.directory, name))
        except (OSError, ValueError):
            continue
    return {port for place in places if (port := urlsplit(place).port) is not None}


def _in_flight(meters: Mapping[tuple[str, str], float]) -> int:
    return int(sum(value for (name, _), value in meters.items() if name.endswith("requests_in_flight")))
