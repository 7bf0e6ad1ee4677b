"""One answer of an engine that schedules by itself: tokens become text, which is told as it comes and ends in time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from mlsys.errors import UserError
from mlsys.rag.generator import Completion, Generator, Prompt, Wanted
from mlsys.rag.generator.text import Text


class Answer:
    """One answer while it is written."""

    def __init__(
        self, generator: Generator, prompt: Prompt, wanted: Wanted, tell: Callable[[str], None] | None
    ) -> None:
        self._generator, self._prompt, self._wanted, self._tell = generator, prompt, wanted, tell
        shows = tell is not None or bool(wanted.stop)
        self._text = Text(generator.pieces(), wanted.stop) if shows else None
        self._ids: list[int] = []

    def wrote(self, tokens: list[int]) -> bool:
        """So many more; true where a stop text came."""
        for token in tokens:
            self._ids.append(token)
            if self._text is not None:
                self._say(self._text.add(token))
                if self._text.stopped:
                    return True
        return False

    def _say(self, text: str) -> None:
        if text and self._tell is not None:
            self._tell(text)

    def of(self, written: Future[None]) -> Future[Completion]:
        """The future of the whole answer; cancelling it cancels `written`."""
        whole: Future[Completion] = Future()

        def ended(_: Future[None]) -> None:
            if not whole.set_running_or_notify_cancel():
                return
            try:
                written.result()
                whole.set_result(self._whole())
            except Exception as error:
                whole.set_exception(error)

        written.add_done_callback(ended)
        whole.add_done_callback(lambda _: written.cancel())
        return whole

    def _whole(self) -> Completion:
        ids = self._ids
        if not ids:
            raise UserError(f"a prompt of {self._prompt.tokens} tokens: the engine has no memory for it")
        stopped = self._text is not None and self._text.stopped
        result = self._text.shown if self._text is not None and stopped else self._generator.text(ids)
        if self._text is not None:
            self._say(self._text.end(result))
        exact = self._generator.fixed_length if self._wanted.exact is None else self._wanted.exact
        ended = not exact and ids[-1] in self._generator.ends
        finish = "stop" if stopped or ended else "length"
        return Completion(result, len(ids), ids, finish, self._prompt.tokens)
