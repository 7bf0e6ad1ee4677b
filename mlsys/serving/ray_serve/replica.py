"""One replica of the Ray Serve application: our HTTP application as its ingress, and the service behind it.

`/stats` sums over all replicas and `/rag/jobs/ID` finds a job in whichever took it, since Ray sends each request
wherever it likes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import ray
from ray import serve
from ray.serve._private import replica as inside

from mlsys import signatures
from mlsys.serving import parts
from mlsys.serving.event_loop import SWITCH_S
from mlsys.serving.http import app
from mlsys.serving.http.handler import Handler
from mlsys.serving.http.jobs import Job
from mlsys.serving.modes import Answer, Names, Service
from mlsys.serving.modes.ray import RayServe
from mlsys.serving.ray_serve import facts
from mlsys.serving.ray_serve.summed import summed
from mlsys.serving.request import Request

TOLD_S = 5.0  # a replica that says nothing for so long is left out of /stats


class Replica:
    """The deployment's class. `config`: the resolved configuration."""

    async def __init__(self, config: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        sys.setswitchinterval(SWITCH_S)
        context = serve.get_replica_context()
        if config["server"]["address"] is None:
            _listen_at_home()
        self.options: RayServe = signatures.make("server", config["server"])
        options = self.options
        options.label = f"replica-{context.rank.rank}"
        built = parts.of(config, Path(tempfile.gettempdir()))
        self._app = context.app_name
        self.service = options.inner(built, context.rank.rank)
        await self.service.start()
        self.handler = _Handler(_Shared(self.service, self), options, self)

    def __serve_build_asgi_app__(self) -> Any:
        """The ingress, as Ray asks for it."""
        return app.create(self.handler)

    async def check_health(self) -> None:
        """Raise where Ray should replace this replica: its worker is stuck."""
        if (state := self.service.state()) == "stalled":
            raise RuntimeError(f"the replica is {state}")

    async def told(self) -> dict[str, Any]:
        """What this replica says of itself."""
        stats = await self.service.stats()
        gpus = ray.get_gpu_ids()
        return {
            **stats,
            "label": self.options.label,
            "in_flight": self.handler.in_flight,
            "jobs": len(self.handler.jobs),
            **({"gpu": ",".join(map(str, gpus))} if gpus else {}),
        }

    async def job(self, number: UUID) -> Job | None:
        """The job, if this replica took it."""
        return self.handler.jobs.get(number)

    async def ask_all(self, method: str, *arguments: Any) -> list[Any]:
        """What all replicas answer, this one among them."""
        handle = serve.get_app_handle(self._app)
        answers: list[Any] = await handle.broadcast(method, *arguments).results_async(
            timeout_s=TOLD_S, return_exceptions=True
        )
        return [answer for answer in answers if not isinstance(answer, BaseException)]


class _Handler(Handler):
    """A handler that looks for jobs in all replicas."""

    def __init__(self, service: Service, options: RayServe, replica: Replica) -> None:
        super().__init__(service, options)
        self._replica = replica

    async def job(self, number: UUID) -> Job | None:
        """The job, whichever replica took it."""
        if (found := self.jobs.get(number)) is not None:
            return found
        return next((job for job in await self._replica.ask_all("job", number) if job is not None), None)


class _Shared:
    """The replica's service, whose `stats` are those of all replicas."""

    def __init__(self, service: Service, replica: Replica) -> None:
        self._service, self._replica, self.meters = service, replica, service.meters
        self.start, self.state, self.check = service.start, service.state, service.check
        self.drain, self.close = service.drain, service.close

    async def answer(self, request: Request) -> Answer:
        """As the service."""
        return await self._service.answer(request)

    async def names(self) -> Names:
        """As the service."""
        return await self._service.names()

    async def stats(self) -> dict[str, Any]:
        """Sums over the replicas, and what each says."""
        told = summed("ray", self._service.state(), await self._replica.ask_all("told"))
        return {**told, "pipeline": {**told["pipeline"], **facts.of_ray(self._replica.options)}}


def _listen_at_home() -> None:
    """Ray opens a replica's own port to every network and unpickles what comes there: no need of it on one machine."""
    plain = inside.add_port_to_grpc_server
    inside.add_port_to_grpc_server = lambda server, address: plain(
        server, address.replace("[::]", "127.0.0.1")
    )
