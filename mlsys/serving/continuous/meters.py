"""What a scheduler of tokens counts, under vLLM's names: `vllm:num_requests_running` is `mlsys_num_requests_running`.

A dashboard made for vLLM's server finds its words here once that prefix is replaced.
"""

from __future__ import annotations

from collections import Counter as Tally

from mlsys.roofline.counts import LATE, Counts
from mlsys.serving.continuous.loop import Loop
from mlsys.serving.continuous.planner import Plan
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.meters import Meters

FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class TokenMeters:
    """Meters of one loop, beside those that every service has."""

    def __init__(self, meters: Meters, loop: Loop) -> None:
        self._loop, self._meters = loop, meters
        self.steps: Tally[str] = Tally(
            count=0,
            total_us=0,
            held_tokens=0,
            reading=0,
            reading_us=0,
            reading_sequences=0,
            gaps=0,
            gaps_us=0,
        )
        self._ended_at: float | None = None  # of the last step, where somebody was left to go on with
        self.tokens: Tally[str] = Tally(prompt=0, generation=0)
        planner, cache, stepper = loop.planner, loop.planner.cache, loop.stepper
        room = max(1, planner.slots * stepper.slot_tokens)
        meters.gauge("num_requests_running", "Sequences that have a slot.", lambda: len(planner.running))
        meters.gauge("num_requests_waiting", "Prompts that have none yet.", lambda: loop.waiting)
        meters.gauge(
            "kv_cache_usage_perc", "Share of the slots' tokens in use, 1 is all.", lambda: self._held() / room
        )
        meters.gauge(
            "prefix_cache_usage_perc", "Share of the prefix pool's blocks in use.",
            lambda: cache.used / max(1, cache.blocks),
        )  # fmt: skip
        self._counters = {
            "prefix_cache_queries": meters.counter("prefix_cache_queries", "Prompt tokens looked up."),
            "prefix_cache_hits": meters.counter("prefix_cache_hits", "Prompt tokens found, not read again."),
            "num_preemptions": meters.counter("num_preemptions", "Sequences put off."),
            "prompt_tokens": meters.counter("prompt_tokens", "Prompt tokens read."),
            "generation_tokens": meters.counter("generation_tokens", "Tokens written."),
        }
        self._counted = dict.fromkeys(self._counters, 0)
        self._first = meters.histogram("time_to_first_token_seconds", "Arrival to first token.", FIRST_S)
        self._each = meters.histogram(
            "time_per_output_token_seconds", "Mean of an answer, after its first.", TOKEN_S
        )
        self._step_s = meters.histogram("step_duration_seconds", "One step of the engine.", TOKEN_S)
        self._step_tokens = meters.histogram(
            "iteration_tokens_total", "Tokens in a step, read and written.", TOKENS
        )

    def _held(self) -> int:
        return sum(len(sequence.ids) for sequence in list(self._loop.planner.running))

    def step(self, plan: Plan, sequences: list[Sequence], seconds: float) -> None:
        """A step is done, and these have one more token each."""
        wrote = len(sequences)
        read = sum(len(one.ids) for one in plan.reads)
        self.tokens["prompt"] += read
        self.tokens["generation"] += wrote
        self.steps["count"] += 1
        self.steps["total_us"] += round(1e6 * seconds)
        self.steps["held_tokens"] += self._held()
        if plan.reads:
            self.steps["reading"] += 1
            self.steps["reading_us"] += round(1e6 * seconds)
            self.steps["reading_sequences"] += wrote
        if plan.late:
            self._meters.decoded[LATE] += round(1e6 * seconds)
        self._between(plan, seconds)
        self._meters.sizes[len(plan.members)] += 1
        self._meters.decoding(len(plan.members), _counts(plan, read, sequences, seconds))
        self._step_s.observe(seconds)
        self._step_tokens.observe(read + len(plan.writes))
        for name, total in self.counts().items():
            if total > self._counted[name]:
                self._counters[name].inc(total - self._counted[name])
                self._counted[name] = total

    def _between(self, plan: Plan, seconds: float) -> None:
        """What passed since the step before, where that left somebody to go on with: planning, telling, texts."""
        if self._ended_at is not None:
            self.steps["gaps"] += 1
            self.steps["gaps_us"] += max(0, round(1e6 * (plan.launched_at - self._ended_at)))
        self._ended_at = plan.launched_at + seconds if self._loop.planner.running else None

    def counts(self) -> dict[str, int]:
        """Totals since the start, by vLLM's names."""
        planner = self._loop.planner
        return {
            "prefix_cache_queries": planner.cache.queried_tokens,
            "prefix_cache_hits": planner.cache.hit_tokens,
            "num_preemptions": planner.put_off,
            "prompt_tokens": self.tokens["prompt"],
            "generation_tokens": self.tokens["generation"],
        }

    def answered(self, first_s: float, last_s: float, tokens: int) -> None:
        """An answer is whole: its first and last token came so long after the request."""
        self._first.observe(first_s)
        if tokens > 1:
            self._each.observe((last_s - first_s) / (tokens - 1))


def _counts(plan: Plan, read: int, sequences: list[Sequence], seconds: float) -> Counts:
    """What the step moved and computed for: a prompt's last piece gives a token of its own."""
    ended = sum(one.last for one in plan.reads)
    held = sum(len(one.ids) - 1 for one in sequences)
    held -= sum(one.start + len(one.ids) for one in plan.reads if one.last)
    seen = sum(len(one.ids) * one.start + len(one.ids) * (len(one.ids) + 1) // 2 for one in plan.reads)
    written = len(plan.writes) + ended
    return Counts(1, round(1e6 * seconds), read, written, max(0, held), max(0, held) + seen)
