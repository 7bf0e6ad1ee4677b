"""What lies outside all stages, fitted: a request's way, the event loops of service and clients, late timers.

An answer takes its turn in the service's event loop (`loop_ms`), then its way (`request_ms`). Of answers that are
there together half are written before one on average. A batch that follows at once holds that loop while it is
prepared, since threads share an interpreter. In a closed loop the clients' event loop then takes its turn for each
(`client_ms`) before the next question is sent. That is seen in how many requests were in flight: the others were
between an answer and the next question.

Least squares over the levels, each as a share of its latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mlsys.record import Record, Scalar
from mlsys.virtual.seen import Source, before, follows, met, number

TOGETHER = 0.98  # of a closed loop's clients are in one batch


@dataclass(frozen=True)
class Seen:
    """Something that a level shows in ms: what lies `outside` of stages where `size` answers are there at once; what
    passes `between` an answer and the next question of `size` clients; their whole `round` but for the batch.
    """

    kind: str
    size: float
    ms: float
    weight: float

    def factors(self, slow_clients: bool) -> tuple[float, float, float]:
        """Of a request's way, of the faster loop's turn, and of what that of the other (service, clients) is longer."""
        positions = (self.size + 1) / 2
        if self.kind == "outside":
            return 1.0, positions, 0.0 if slow_clients else positions
        if self.kind == "between":
            return 0.0, 1.0, positions if slow_clients else 0.0
        return 1.0, self.size + 1, self.size


def around(found: Sequence[Source]) -> dict[str, float]:
    """`request_ms`, `loop_ms`, `balancer_ms`, `client_ms`, `dispatch_ms`, of services alone where there are any."""
    alone = [one for one in found if not _balanced(one[0])]
    behind = [level for record, level in found if _balanced(record)]
    late = [
        number(level, "dispatch_delay_ms.mean", 0.0) for _, level in found if not level.get("concurrency")
    ]
    seen = [one for record, level in alone or found for one in _seen(record, level)]
    weights = np.array([one.weight for one in seen])
    values = np.array([one.ms for one in seen]) * weights
    tried = []
    for slow_clients in (True, False):
        matrix = np.array([one.factors(slow_clients) for one in seen]) * weights[:, None]
        tried.append((nnls(matrix, values), slow_clients))
    ((request, turn, more), _), slow_clients = min(tried, key=lambda one: one[0][1])
    loop, client = (turn, turn + more) if slow_clients else (turn + more, turn)
    cost = {
        "request_ms": float(request),
        "loop_ms": float(loop),
        "client_ms": float(client),
        "dispatch_ms": float(np.median(late)) if late else 0.0,
    }
    if not alone:  # two services on the way: nothing tells whose it is
        return cost | {"loop_ms": loop / 2, "balancer_ms": loop / 2}
    rest = [_outside(level) - request - loop * (_together(level) + 1) / 2 for level in behind]
    return cost | ({"balancer_ms": max(0.0, float(np.median(rest)))} if rest else {})


def _seen(record: Record, level: Mapping[str, Scalar]) -> list[Seen]:
    weight = 1 / max(number(level, "e2e_ms.mean", 1.0), 1e-3)
    outside = Seen("outside", _together(level), _outside(level), weight)
    clients = number(level, "concurrency", 0.0)
    together = number(level, "batch_size.mean", 1.0) >= TOGETHER * clients and "step_ms.mean" not in level
    if not clients or not together:
        return [outside]
    between = _between(record, level)
    waited = number(level, "stage_ms.queue.mean", 0.0) - number(level, "handover_ms.mean", 0.0)
    round_ms = outside.ms + max(0.0, waited) + between
    seen = [Seen("between", clients, between, weight), Seen("round", clients, round_ms, weight)]
    return [outside, *seen] if clients == 1 else seen


def _together(level: Mapping[str, Scalar]) -> float:
    """How many answers are there at once."""
    return 1.0 if "step_ms.mean" in level else met(level)


def _outside(level: Mapping[str, Scalar]) -> float:
    """What a request takes outside of all stages, but for late timers and for the batch that follows."""
    late = 0.0 if level.get("concurrency") else number(level, "dispatch_delay_ms.mean", 0.0)
    measured = number(level, "outside_ms.mean", 0.0) + number(level, "stage_ms.respond.mean", 0.0)
    return max(0.0, measured - late - follows(level) * before(level))


def _between(record: Record, level: Mapping[str, Scalar]) -> float:
    """What passes between an answer and its client's next question, in ms, but for what it was told to think."""
    clients, flying = number(level, "concurrency"), number(level, "in_flight.mean", 0.0)
    if not flying:
        return 0.0
    load = record.config.get("loadtest")
    think_s = load.get("think_time_s") if isinstance(load, Mapping) else None
    passed = number(level, "e2e_ms.mean") * (clients / flying - 1)
    return max(0.0, passed - 1e3 * (think_s if isinstance(think_s, (int, float)) else 0.0))


def _balanced(record: Record) -> bool:
    server = record.config.get("server")
    return isinstance(server, Mapping) and bool(server.get("replicas"))
