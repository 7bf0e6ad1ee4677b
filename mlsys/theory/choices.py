"""Power of d choices: each request goes to the replica with the fewest inside, of d that are drawn.

For endless replicas the share of those with at least k inside is ρ^((d^k − 1)/(d − 1)), which gives a mean latency
of Σ ρ^((d^k − d)/(d − 1)) services (Vvedenskaya, Dobrushin and Karpelevich, 1996; Mitzenmacher, 2001). For a few
replicas the chain of their sorted lengths is solved as it is. All of them drawn is `least_in_flight`, one is a
blind choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from mlsys.theory.law import Floats, stable

NEGLIGIBLE = 1e-8
MOST_STATES = 20_000

Lengths = tuple[int, ...]


def mean_field_ms(rate_rps: float, service_ms: float, drawn: int) -> float:
    """The mean latency with endless replicas, each with `rate_rps` on average. Raises Unstable."""
    rho = stable(rate_rps / 1e3 * service_ms)
    total, exponent = 1.0, float(drawn)  # the terms of k = 1, 2, …: exponents 0, d, d + d², …
    while drawn > 1 and (term := rho**exponent) > NEGLIGIBLE:
        total += term
        exponent = exponent * drawn + drawn
    return service_ms * (total if drawn > 1 else 1 / (1 - rho))


class Choices:
    """`replicas` in all, exponential services, `drawn` of them at random without putting back. Raises Unstable.

    Where the chain would have more than 20,000 states, ValueError.
    """

    def __init__(self, rate_rps: float, service_ms: float, replicas: int, drawn: int) -> None:
        if not 1 <= drawn <= replicas:
            raise ValueError(f"drawn={drawn} must be at least 1 and at most {replicas}")
        self.rate, self.serve = rate_rps / 1e3, 1 / service_ms
        self.replicas, self.drawn = replicas, drawn
        self.utilisation = stable(self.rate * service_ms / replicas)
        self.longest = max(8, math.ceil(math.log(NEGLIGIBLE) / math.log(max(self.utilisation, 1e-3)) / drawn))
        if math.comb(self.longest + replicas, replicas) > MOST_STATES:
            raise ValueError(
                f"{replicas} replicas at {self.utilisation:.3g} are too many states for the chain"
            )

    @cached_property
    def states(self) -> tuple[list[Lengths], Floats]:
        """Each sorted tuple of lengths (the shortest first) and its share of the time."""
        lengths = list(combinations_with_replacement(range(self.longest + 1), self.replicas))
        place = {state: number for number, state in enumerate(lengths)}
        flow = lil_matrix((len(lengths), len(lengths)))
        for state in lengths:
            here = place[state]
            for other, rate in self._steps(state):
                flow[place[other], here] += rate
                flow[here, here] -= rate
        flow[0, :] = 1.0
        shares: Floats = spsolve(flow.tocsc(), np.eye(len(lengths), 1)[:, 0])
        return lengths, shares

    def _steps(self, state: Lengths) -> Iterator[tuple[Lengths, float]]:
        for rank in range(self.replicas):
            # The shortest of those drawn is the one of this rank, if the others drawn come after it.
            chance = math.comb(self.replicas - rank - 1, self.drawn - 1) / math.comb(
                self.replicas, self.drawn
            )
            if chance and state[rank] < self.longest:
                yield _changed(state, rank, 1), self.rate * chance
            if state[rank]:
                yield _changed(state, rank, -1), self.serve

    @property
    def mean_ms(self) -> float:
        """The mean latency, by Little's law."""
        lengths, shares = self.states
        return (
            float(sum(share * sum(state) for state, share in zip(lengths, shares, strict=True))) / self.rate
        )


def _changed(state: Lengths, rank: int, by: int) -> Lengths:
    return tuple(sorted((*state[:rank], state[rank] + by, *state[rank + 1 :])))
