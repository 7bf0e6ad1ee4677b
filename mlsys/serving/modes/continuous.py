"""`server=continuous`: continuous batching, scheduled token by token; the group `scheduling` says whose turn it is."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.serving.continuous import service
from mlsys.serving.continuous.pass_through import Answering, PassThrough
from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server
from mlsys.serving.scheduling import Policy


class Continuous(Server):
    """Has no knobs of its own."""

    def service(self, parts: Parts) -> Service:
        """One pipeline behind the chosen scheduling policy, or before an engine that schedules by itself."""
        policy, pipeline = parts.scheduling(), parts.pipeline()
        if isinstance(generator := pipeline.generator, Answering):
            _check(policy, pipeline.generator.name)
            return PassThrough(self, pipeline, generator)
        return service.Continuous(self, pipeline, policy, parts.time)


def _check(policy: Policy, generator: str) -> None:
    """Raise UserError for what that engine decides by itself."""
    whose = f"generator={generator} schedules by itself"
    if policy.name != "fcfs":
        raise UserError(f"scheduling={policy.name}: {whose}")
    for knob in ("slots", "kv_memory"):
        if getattr(policy, knob) is not None:
            raise UserError(f"scheduling.{knob}={getattr(policy, knob)}: {whose}")
