"""The knobs of prompts: plain values under `prompt`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Order(Enum):
    """In which order a prompt has its passages. In `canonical`, by id, prompts with the same passages begin alike."""

    score = "score"
    canonical = "canonical"


@dataclass
class PromptOptions:
    """The knobs under `prompt`."""

    order: Order = Order.score
