"""How long each answer is to be (`loadtest.output_tokens`): drawn by seed, one length a request, whatever the mode.

Each form is the inverse of a distribution function, fed with one uniform number a request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mlsys.errors import UserError

OutputTokens = int | list[int] | str | None
LARGEST = 1_000_000
GEOMETRIC = "geometric:"
CUT = 0.999  # a geometric length beyond this quantile is that quantile: the longest must be known beforehand
BLOCK = 1024
STREAM = 0x6C656E67  # keeps these draws apart from those of the questions' order, which have the same seed
FORMS = "null, a number, [8,128] (uniform), quantiles at equal steps such as [8,20,128], or geometric:64"


class Lengths:
    """The lengths of one load, in tokens. Raises UserError for what is none of the forms."""

    def __init__(self, output_tokens: OutputTokens) -> None:
        self._inverse = _inverse(output_tokens)
        self.longest = None if self._inverse is None else self._inverse(math.nextafter(1.0, 0.0))

    def drawn(self, seed: int) -> Callable[[int], int | None]:
        """Request number to length (None: the generator's own), the same for the same seed."""
        inverse, blocks = self._inverse, dict[int, list[float]]()
        if inverse is None:
            return lambda number: None

        def length(number: int) -> int:
            block, place = divmod(number, BLOCK)
            if block not in blocks:
                blocks[block] = np.random.default_rng([seed, STREAM, block]).random(BLOCK).tolist()
            return inverse(blocks[block][place])

        return length


def _inverse(output_tokens: OutputTokens) -> Callable[[float], int] | None:
    if output_tokens is None:
        return None
    if isinstance(output_tokens, str):
        return _geometric(_mean(output_tokens))
    values = output_tokens if isinstance(output_tokens, list) else [output_tokens]
    if not values or not all(_is_length(value) for value in values) or values != sorted(values):
        raise _none_of_the_forms(output_tokens)
    return _between(values if len(values) > 1 else [*values, *values])


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _mean(text: str) -> float:
    try:
        mean = float(text.removeprefix(GEOMETRIC)) if text.startswith(GEOMETRIC) else 0.0
    except ValueError:
        mean = 0.0
    if not 1 <= mean <= LARGEST:
        raise _none_of_the_forms(text)
    return mean


def _none_of_the_forms(output_tokens: OutputTokens) -> UserError:
    shown = str(output_tokens).replace(" ", "")
    return UserError(f"loadtest.output_tokens={shown} is none of: {FORMS} (1 to {LARGEST:_}, ascending)")


def _between(quantiles: Sequence[int]) -> Callable[[float], int]:
    """Between neighbours each whole number is as likely as the next, the two ends included."""

    def inverse(uniform: float) -> int:
        place, share = divmod(uniform * (len(quantiles) - 1), 1.0)
        low, high = quantiles[int(place)], quantiles[int(place) + 1]
        return low + int(share * (high - low + 1))

    return inverse


def _geometric(mean: float) -> Callable[[float], int]:
    """Tokens up to and with the first that ends an answer, where each does with the probability 1 / mean."""
    if mean == 1:
        return lambda uniform: 1
    decay = math.log1p(-1 / mean)
    return lambda uniform: 1 + int(math.log1p(-min(uniform, CUT)) / decay)
