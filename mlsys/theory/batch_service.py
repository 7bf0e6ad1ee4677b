"""Batch service: a worker that takes all who wait, a batch of b at a cost that depends on b.

For a cost of α·b + τ0 the means have closed forms (Inoue, Queueing analysis of GPU-based inference servers with
dynamic batching, Performance Evaluation 147, 2021; arXiv 1912.06322). For any cost, and for the percentiles, there
is an exact chain: the next batch is who has come during this one. A request that comes at y within a service of
length s waits s − y and goes with 1 + Poisson(λs) others, for a Poisson stream does not know that it is watched.

A window delays that: with `window_ms` = T a batch begins no earlier than T after its oldest request came.
`at_once`: one that finds the worker idle does not wait for the window, which is `batching=hybrid`; else it does,
which is `batching=time`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.linalg import solve

from mlsys.theory.law import Floats, Law, Unstable, poisson, stable

NEGLIGIBLE = 1e-12
LARGEST = 3000  # requests of one batch


@dataclass(frozen=True)
class TakeAll:
    """The closed forms for a cost of `per_request_ms`·b + `base_ms` (α and τ0). Raises Unstable."""

    rate_rps: float
    per_request_ms: float
    base_ms: float

    def __post_init__(self) -> None:
        stable(self.utilisation)

    @property
    def utilisation(self) -> float:
        """ρ = λα, the share of the time that even endless batches would need."""
        return self.rate_rps / 1e3 * self.per_request_ms

    @cached_property
    def mean_batch(self) -> float:
        """E[B]: (λτ0 + π0) / (1 − ρ), π0 the chance that nobody comes during a batch."""
        nobody = Batches(self.rate_rps, lambda b: self.per_request_ms * b + self.base_ms).nobody
        return (self.rate_rps / 1e3 * self.base_ms + nobody) / (1 - self.utilisation)

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        rate, rho, alpha, base = self.rate_rps / 1e3, self.utilisation, self.per_request_ms, self.base_ms
        size = self.mean_batch
        square = (size * (1 + 2 * rho * rate * base) + (rate * base) ** 2) / (1 - rho**2)
        return alpha * (1 + rho / 2) * square / size + base * (1 + rho) + rate * base**2 / (2 * size)


class Batches(Law):
    """The exact chain. `cost_ms(b)`: what a batch of b takes. Raises Unstable where batches would grow without end."""

    def __init__(
        self,
        rate_rps: float,
        cost_ms: Callable[[float], float],
        window_ms: float = 0.0,
        at_once: bool = True,
    ) -> None:
        self.rate, self.window_ms, self.at_once = rate_rps / 1e3, window_ms, at_once
        self._cost = cost_ms
        stable(self.rate * (cost_ms(LARGEST) - cost_ms(1)) / (LARGEST - 1))
        self._solve()

    def _solve(self) -> None:
        size = 32
        while True:
            self.sizes = np.arange(1, size + 1)
            self.costs: Floats = np.array([self._cost(float(b)) for b in self.sizes])
            chain = self._chain()
            equations = chain.T - np.eye(size)
            equations[-1] = 1.0
            found: Floats = np.clip(solve(equations, np.eye(size)[-1]), 0.0, None)
            if found[-size // 8 :].sum() < NEGLIGIBLE:
                self.shares = found / found.sum()
                return
            if size >= LARGEST:
                raise Unstable(self.rate * self.costs[-1] / size)
            size = min(2 * size, LARGEST)

    def _weights(self) -> tuple[Floats, Floats, Floats]:
        """Of each batch: its length s, at least T; u = s − T; the chance that the next one begins with a window."""
        lengths = np.maximum(self.costs, self.window_ms)
        early = lengths - self.window_ms
        idle = np.exp(-self.rate * self.costs) if self.at_once else np.zeros_like(self.costs)
        return lengths, early, np.maximum(np.exp(-self.rate * early) - idle, 0.0)

    def _chain(self) -> Floats:
        lengths, early, windowed = self._weights()
        within, window = self.rate * lengths[:, None], self.rate * self.window_ms
        late = np.exp(-self.rate * early)[:, None]
        chain: Floats = poisson(self.sizes, within) - late * poisson(self.sizes, window)
        chain += windowed[:, None] * poisson(self.sizes - 1, window)
        if self.at_once:
            chain[:, 0] += np.exp(-self.rate * self.costs)
        chain[:, -1] += np.maximum(0.0, 1 - chain.sum(axis=1))
        return chain

    @property
    def nobody(self) -> float:
        """π0: the chance that nobody comes during a batch."""
        return float(self.shares @ np.exp(-self.rate * self.costs))

    @property
    def mean_batch(self) -> float:
        """The mean size of a batch."""
        return float(self.shares @ self.sizes)

    def batch_tail(self, size: int) -> float:
        """The share of batches of more than `size`; where no batch may be larger, the form holds if this is 0."""
        return float(self.shares[self.sizes > size].sum())

    @cached_property
    def _parts(self) -> list[tuple[Floats, Floats, Floats]]:
        """Who is in the next batch: (weights[b, k], least wait[b], longest wait[b]), k the size of that batch less one.

        Waits are uniform between the two. The weights add up to the mean batch size.
        """
        lengths, early, windowed = self._weights()
        others = self.sizes - 1
        within, window = self.rate * lengths[:, None], self.rate * self.window_ms
        none, late = np.zeros_like(lengths), np.exp(-self.rate * early)[:, None]
        least = np.full_like(lengths, self.window_ms)
        in_service = poisson(others, within)
        in_window = poisson(others, window)[None, :] * windowed[:, None]
        with_first = poisson(others - 1, window)[None, :] * windowed[:, None] * window
        after = (in_service - late * poisson(others, window)) * window
        parts = [
            (in_service * self.rate * early[:, None], least, lengths),
            (after, none, least),
            (in_window, least, least),
            (with_first, none, least),
        ]
        if self.at_once:
            alone = np.exp(-self.rate * self.costs)[:, None] * (others == 0)
            parts.append((alone, none, none))
        return [(self.shares[:, None] * weight, low, high) for weight, low, high in parts]

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        total = weight = 0.0
        for weights, low, high in self._parts:
            total += float((weights * ((low + high) / 2)[:, None] + weights * self.costs[None, :]).sum())
            weight += float(weights.sum())
        return total / weight

    def cdf(self, at_ms: float) -> float:
        """The share of requests answered within `at_ms`."""
        reached = weight = 0.0
        for weights, low, high in self._parts:
            left = at_ms - self.costs[None, :] - low[:, None]
            width = np.maximum(high - low, 1e-9)[:, None]
            reached += float((weights * np.clip(left / width, 0.0, 1.0) * (left >= 0)).sum())
            weight += float(weights.sum())
        return reached / weight
