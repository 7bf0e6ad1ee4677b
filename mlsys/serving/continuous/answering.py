"""A request while its answer is written: which stage its time goes to, what its client may see of the text."""

from __future__ import annotations

from mlsys.rag.generator import Generator
from mlsys.rag.generator.text import Text
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.request import Request


class Answering:
    """One request and its sequence. All methods run in the loop's thread."""

    __slots__ = ("first_at", "generator", "part", "request", "sequence", "text", "told")

    def __init__(self, request: Request, generator: Generator, limit: int) -> None:
        item, wish = request.item, request.wish
        exact = generator.fixed_length if item.exact_tokens is None else item.exact_tokens
        self.request, self.generator = request, generator
        self.sequence = Sequence(
            item.prompt_ids,
            min(item.max_tokens or generator.max_new_tokens, limit),
            exact,
            item.sampling,
            request.arrived_at,
            request.deadline,
            wish.client,
            wish.priority,
            owner=self,
        )
        shows = request.stream is not None or wish.stop
        self.text = Text(generator.pieces(), wish.stop) if shows else None
        self.part, self.told, self.first_at = "queue", 0, 0.0

    def entered(self) -> None:
        """It has a slot."""
        self.request.mark("queue")
        self.part = "prefill"

    def put_off(self) -> None:
        """It has lost its slot, and waits."""
        self.request.mark(self.part)
        self.part = "queue"

    @property
    def is_quiet(self) -> bool:
        """Whether a token changes nothing that anybody is told: not its first, not its last, and no text is shown."""
        return self.text is None and self.part == "decode" and not self.sequence.ended

    def wrote(self, token: int) -> str:
        """It has one more token. What may be shown now; `text.stopped` says whether that ends it."""
        if self.part == "prefill":
            self.request.mark("prefill")
            self.part = "decode"
        if not self.first_at:
            self.first_at = self.request.marked_at
        return "" if self.text is None else self.text.add(token)

    def end(self) -> str:
        """It is whole: fill the item in. What was not shown of it yet."""
        item, ids = self.request.item, list(self.sequence.written)
        stopped = self.text is not None and self.text.stopped
        result = self.text.shown if self.text is not None and stopped else self.generator.text(ids)
        item.result, item.result_ids, item.tokens = result, ids, len(ids)
        ended = not self.sequence.exact and ids[-1] in self.generator.ends
        item.finish = "stop" if stopped or ended else "length"
        self.request.batch_size = self.sequence.mean_together
        rest = "" if self.text is None else self.text.end(result)
        self.request.mark(self.part)
        return rest
