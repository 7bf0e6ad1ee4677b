"""`scheduling=shortest_prompt`: the prompt that takes least reading goes first, among those that came about together.

Shortest job first (Smith, 1956) has the least mean waiting time, and may leave the longest waiting for ever. So time is
cut into windows of `window_ms`: whoever came in an earlier window goes first, within a window the shortest does. Nobody
waits for prompts that came more than a window later.
"""

from __future__ import annotations

from typing import Unpack

from mlsys.serving.options import above
from mlsys.serving.scheduling import Candidate, Key, Policy, Steps


class ShortestPrompt(Policy):
    """By window of arrival, then by tokens to read."""

    def __init__(self, name: str, window_ms: float, **steps: Unpack[Steps]) -> None:
        above("scheduling.window_ms", window_ms, 0)
        super().__init__(name, **steps)
        self._window_s = window_ms / 1000

    def key(self, waiting: Candidate) -> Key:
        """The window in which it came, its length, when it came."""
        return (waiting.arrived_at // self._window_s, waiting.to_read, waiting.arrived_at)
