"""The next token of each sequence: the likeliest, or drawn with temperature and top-p.

A draw is the inverse of the distribution's sum at one random number, which comes from the request's seed and the
token's position in its sequence alone. So an answer is the same again whatever else the batch holds. Logits of other
batch shapes differ in their last bits: a number within rounding of a border may then fall on its other side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from mlsys.rag.generator.placing import placed
from mlsys.rag.generator.stepping import Sampling

UNIFORM_BITS = 53  # of a float's mantissa


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that `seed` and `position` decide."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - UNIFORM_BITS)) / 2**UNIFORM_BITS)


def pick(logits: torch.Tensor, sampling: Sequence[Sampling], positions: Sequence[int]) -> torch.Tensor:
    """The next token (B,) of logits (B, vocabulary). `positions`: its place in each sequence.

    No sampling at all is greedy.
    """
    tokens = logits.argmax(-1)
    draw_into(tokens, logits, sampling, positions)
    return tokens


def draw_into(
    tokens: torch.Tensor, logits: torch.Tensor, sampling: Sequence[Sampling], positions: Sequence[int]
) -> None:
    """Replace the greedy tokens of those rows that are sampled."""
    rows = [row for row, how in enumerate(sampling) if how.temperature > 0]
    if rows:
        places = placed(rows, logits.device)
        chosen = [sampling[row] for row in rows]
        tokens[places] = _draw(logits[places], chosen, [positions[row] for row in rows])


def _draw(logits: torch.Tensor, sampling: Sequence[Sampling], positions: Sequence[int]) -> torch.Tensor:
    drawn = [uniform(how.seed, position) for how, position in zip(sampling, positions, strict=True)]
    numbers = placed(
        [[how.temperature, how.top_p, u] for how, u in zip(sampling, drawn, strict=True)],
        logits.device,
        torch.float64,
    )
    temperature, top_p, u = numbers.split(1, 1)
    scores = logits.double()
    weights = ((scores - scores.amax(1, keepdim=True)) / temperature).softmax(1)
    narrowed = [row for row, how in enumerate(sampling) if how.top_p < 1]
    if narrowed:
        places = placed(narrowed, logits.device)
        weights[places] = _nucleus(weights[places], top_p[places])
    sums = weights.cumsum(1)
    found = torch.searchsorted(sums, u * sums[:, -1:], right=True)
    return found.squeeze(1).clamp_(max=logits.shape[1] - 1)


def _nucleus(weights: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Only the likeliest tokens, as many as make up `top_p` (Holtzman et al., 2020); at least one."""
    ordered, places = weights.sort(1, descending=True)
    before = ordered.cumsum(1) - ordered
    kept = before < top_p
    kept[:, 0] = True
    return torch.zeros_like(weights).scatter_(1, places, ordered * kept)
