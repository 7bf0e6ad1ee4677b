"""`loadtest=trace`: traffic from a file, replayed: times, lengths of prompts and answers, shared prefixes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from mlsys.errors import UserError
from mlsys.loadtest import trace_file
from mlsys.loadtest.arrivals import Done, Listed, OpenLoop
from mlsys.loadtest.options import positive
from mlsys.loadtest.questions import Question, Questions
from mlsys.loadtest.trace_file import Traced, TraceFile
from mlsys.loadtest.trace_text import Texts
from mlsys.record import Scalar

PROMPTS = ("made", "questions")
AHEAD = 1024  # prompts that are kept


class Trace(Listed):
    """`speed`: how many times faster than it was recorded; a number, or a list with one load level each.

    `prompts`: `made` are texts as long as the trace says, alike where its `hash_ids` are; `questions`: the load's own.
    """

    def __init__(
        self,
        name: str,
        path: str | None,
        speed: Any,
        time_unit: str | None,
        columns: dict[str, str] | None,
        prompts: str,
        block_tokens: int,
        max_input_tokens: int | None,
        max_output_tokens: int | None,
    ) -> None:
        self.name = name
        self.levels = positive("loadtest.speed", speed, whole=False)
        for knob, value in (
            ("block_tokens", block_tokens),
            ("max_input_tokens", max_input_tokens),
            ("max_output_tokens", max_output_tokens),
        ):
            if value is not None:
                positive(f"loadtest.{knob}", value, whole=True)
        if prompts not in PROMPTS:
            raise UserError(f"loadtest.prompts={prompts} is none of: {' '.join(PROMPTS)}")
        if path is None:
            raise UserError("loadtest.path=null: loadtest=trace needs a file (.jsonl .csv .parquet)")
        self.file = trace_file.read(path, columns, time_unit)
        if prompts == "made" and "input" not in self.file.columns:
            raise UserError(
                f"loadtest.path={path} tells no lengths of prompts: loadtest.prompts=questions asks the load's own"
            )
        self.default_requests = len(self.file.requests)
        self.script = self._script = Script(
            self.file, prompts == "made", block_tokens, max_input_tokens, max_output_tokens
        )

    def describe(self, level: float) -> dict[str, float]:
        """The level's `speed`, and the mean rate where the trace takes time."""
        span_s, count = self.file.span_s, len(self.file.requests)
        return {"speed": level} | ({"offered_rate_rps": (count - 1) * level / span_s} if span_s else {})

    def warmup(self, level: float, measured: int | None) -> int:
        """None: every request of the trace is measured."""
        return 0

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals of one level; nothing in them is random."""
        return OpenLoop.at(request.at_s / level for request in self.file.requests)

    def conclusion(self, done: Done) -> dict[str, Scalar]:
        """`trace.*`: which file that was, what it holds, and what was cut."""
        return self._script.describe()


class Script:
    """What a trace tells of each request."""

    def __init__(
        self, file: TraceFile, makes_text: bool, block_tokens: int, most_in: int | None, most_out: int | None
    ) -> None:
        self._file, self.makes_text, self._block_tokens = file, makes_text, block_tokens
        self._most_in, self._most_out = most_in, most_out
        self.about = file.about()
        answers = [length for one in file.requests if (length := self._answer(one)) is not None]
        self.longest_answer = max(answers, default=None)

    def longest_query(self, seed: int) -> int:
        """Characters of the longest prompt; 0 where prompts are not made."""
        if not self.makes_text:
            return 0
        requests = self._file.requests
        longest = max(range(len(requests)), key=lambda number: requests[number].input_tokens or 0)
        return len(Texts(self._block_tokens, seed)(longest, requests[longest], self._most_in))

    def questions(self, others: Questions, seed: int) -> Questions:
        """What is asked: made texts, or else `others`, with the trace's lengths of answers."""
        texts = Texts(self._block_tokens, seed) if self.makes_text else None
        return _Asked(self, texts, others)

    def question(self, number: int, texts: Texts | None, others: Questions) -> Question:
        """That of the request with this number."""
        request = self._file.requests[number]
        if texts is None:
            other = others[number]
            return replace(other, max_tokens=self._answer(request))
        text = texts(number, request, self._most_in)
        return Question(number, text, None, max_tokens=self._answer(request))

    def describe(self) -> dict[str, Scalar]:
        """The file, its columns, its lengths."""
        requests, columns = self._file.requests, self._file.columns
        values: dict[str, Scalar] = {
            "trace.sha256": self._file.sha256,
            "trace.requests": len(requests),
            "trace.span_s": self._file.span_s,
            "trace.reordered": self._file.reordered,
            "trace.whole": not self._file.more,
            **{f"trace.column.{what}": name for what, name in columns.items()},
        }
        for what, most in (("input", self._most_in), ("output", self._most_out)):
            lengths = [int(getattr(one, f"{what}_tokens") or 0) for one in requests if what in columns]
            if lengths:
                values[f"trace.{what}_tokens.mean"] = sum(lengths) / len(lengths)
                values[f"trace.{what}_tokens.max"] = max(lengths)
                values[f"trace.{what}_tokens.cut"] = sum(length > (most or length) for length in lengths)
        return values

    def _answer(self, request: Traced) -> int | None:
        """At least one token: a trace's answers of 0 tokens failed there."""
        if request.output_tokens is None:
            return None
        return max(1, min(request.output_tokens, self._most_out or request.output_tokens))


class _Asked:
    def __init__(self, script: Script, texts: Texts | None, others: Questions) -> None:
        self._made = lru_cache(AHEAD)(lambda number: script.question(number, texts, others))

    def __getitem__(self, number: int) -> Question:
        """The question of the request with this number."""
        return self._made(number)
