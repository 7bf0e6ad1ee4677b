"""Our balancing policies as a request router of Ray Serve's: `server.router=balancer`.

Ray asks the policy for each request, and tells when it is sent and when it has ended, from which the requests in
flight are counted: those that this router sent, as a balancer counts its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.serve.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)

from mlsys import signatures


@dataclass(frozen=True)
class _Candidate:
    name: str
    in_flight: int
    replica: RunningReplica


class PolicyRouter(FIFOMixin, LocalityMixin, MultiplexMixin, RequestRouter):  # type: ignore[misc]
    """Asks a policy of the group `balancer`."""

    def initialize_state(self, section: dict[str, Any]) -> None:
        """`section`: the policy's part of the configuration."""
        self.policy = signatures.make("balancer", section)
        self.in_flight: Counter[str] = Counter()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> Sequence[list[RunningReplica]]:
        """The policy's choice first; the others after it, for the case that Ray finds it full."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
        left = [
            _Candidate(replica.replica_id.unique_id, self.in_flight[replica.replica_id.unique_id], replica)
            for replica in sorted(candidate_replicas, key=lambda one: one.replica_id.unique_id)
        ]
        if not left:
            return []
        first = self.policy.choose(left)
        return [[first.replica], [one.replica for one in left if one is not first]]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """One more is in flight there, or on its way to being refused."""
        super().on_send_request(replica_id)
        self.in_flight[replica_id.unique_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """One fewer. What was never sent is told of as well."""
        self.in_flight[replica_id.unique_id] = max(0, self.in_flight[replica_id.unique_id] - 1)
