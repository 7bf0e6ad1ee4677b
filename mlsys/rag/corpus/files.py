"""`corpus=files corpus.path=DIR`: one's own documents, cut into passages of so many tokens that overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlsys import progress
from mlsys.errors import UserError
from mlsys.rag.corpus import LabelledQuestion, Passage, TokenSpans, digest
from mlsys.rag.corpus.documents import READERS, Document, Unreadable, read
from mlsys.record import Scalar

MOST_QUESTIONS = 1000
QUESTION_WORDS = 20
SHOWN = 20


class Files:
    """All files below `path` (or the one file) that there is a reader for, in the order of their names.

    Passages have `chunk_tokens` tokens of the embedder at most and share `overlap_tokens` with the one
    before. Tables give one document a row, from their column `text_field`; a column `question` gives
    questions with known answers. Without such questions the first sentences of the passages are asked.
    """

    def __init__(self, path: str, name: str, chunk_tokens: int, overlap_tokens: int, text_field: str) -> None:
        if not path:
            raise UserError("corpus.path is missing: corpus=files corpus.path=DIR")
        if chunk_tokens < 1:
            raise UserError(f"corpus.chunk_tokens={chunk_tokens} must be at least 1")
        if not 0 <= overlap_tokens < chunk_tokens:
            raise UserError(
                f"corpus.overlap_tokens={overlap_tokens} must be from 0 to below chunk_tokens={chunk_tokens}"
            )
        self.name, self.path, self.text_field = name, Path(path).expanduser(), text_field
        self.chunk_tokens, self.overlap_tokens = chunk_tokens, overlap_tokens
        self.passages: list[Passage] = []
        self.questions: list[LabelledQuestion] = []
        self._skipped: dict[str, str] = {}
        self._files, self._asked = 0, "given with the documents"
        if not self.path.exists():
            raise UserError(f"corpus.path={path} does not exist")
        if not any(self._paths()):
            raise UserError(f"corpus.path={path} holds no file that can be read ({', '.join(READERS)})")

    def _paths(self) -> Iterator[Path]:
        if self.path.is_file():
            yield self.path
            return
        for path in sorted(self.path.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(self.path).parts)
            if path.is_file() and not hidden and path.suffix.lower() in READERS:
                yield path

    def load(self, token_spans: TokenSpans) -> None:
        """Read and cut all files, naming those that are skipped. Raises UserError if nothing is left."""
        self.passages, self.questions, self._skipped, self._files = [], [], {}, 0
        paths = list(self._paths())
        with progress.step(f"reading {len(paths)} files of {self.path}", len(paths)) as step:
            for path in paths:
                self._add(path, token_spans)
                step.advance()
        for name, reason in list(self._skipped.items())[:SHOWN]:
            progress.say(f"corpus=files: skipped {name}: {reason}")
        if len(self._skipped) > SHOWN:
            progress.say(f"corpus=files: skipped {len(self._skipped) - SHOWN} more")
        if not self.passages:
            raise UserError(f"corpus.path={self.path}: nothing readable ({_list(self._skipped, 3)})")
        if not self.questions:
            self._asked = "first sentences of passages"
            self.questions = [
                LabelledQuestion(_opening(p.text), p.id) for p in self.passages[:MOST_QUESTIONS]
            ]

    def _add(self, path: Path, token_spans: TokenSpans) -> None:
        name = path.name if path == self.path else path.relative_to(self.path).as_posix()
        reader = READERS.get(path.suffix.lower())
        try:
            if reader is None:
                raise Unreadable(f"no reader for {path.suffix or 'files without a suffix'}")
            documents = read(path, self.text_field)
        except Unreadable as reason:
            self._skipped[name] = str(reason)
            return
        self._files += 1
        for document in documents:
            source = name if document.row is None else f"{name}:{document.row}"
            self._cut(document, source, token_spans)

    def _cut(self, document: Document, source: str, token_spans: TokenSpans) -> None:
        first = len(self.passages)
        spans = token_spans(document.text)
        for start in range(
            0, max(1, len(spans) - self.overlap_tokens), self.chunk_tokens - self.overlap_tokens
        ):
            piece = spans[start : start + self.chunk_tokens]
            if piece:
                text = document.text[piece[0][0] : piece[-1][1]]
                self.passages.append(Passage(len(self.passages), text, source, piece[0][0]))
        if document.question and len(self.passages) > first:
            self.questions.append(LabelledQuestion(document.question, first))

    @property
    def digest(self) -> str:
        """sha256 of the passages."""
        return digest(self.passages)

    def describe(self) -> dict[str, Scalar]:
        """Counts, how it was cut, and what was skipped."""
        return {
            "path": str(self.path),
            "files": self._files,
            "files_skipped": len(self._skipped),
            "skipped": _list(self._skipped, SHOWN),
            "passages": len(self.passages),
            "questions": len(self.questions),
            "questions_are": self._asked,
            "chunk_tokens": self.chunk_tokens,
            "overlap_tokens": self.overlap_tokens,
        }


def _list(skipped: dict[str, str], most: int) -> str:
    named = [f"{name}: {reason}" for name, reason in list(skipped.items())[:most]]
    more = len(skipped) - len(named)
    return "; ".join([*named, f"{more} more"] if more else named)


def _opening(text: str) -> str:
    sentence = re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]
    return " ".join(sentence.split()[:QUESTION_WORDS])
