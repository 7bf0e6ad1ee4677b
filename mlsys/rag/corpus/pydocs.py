"""`corpus=pydocs`, the default: the running interpreter's own documentation, real text that is there offline.

Half of the passages are docstrings of the standard library without their summary line, which is the question
that the passage answers; the others are paragraphs of the language reference (`pydoc_data.topics`), which no
question asks for. Which of them are taken is decided by their hashes: the same Python version gives the same
corpus.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlsys import progress
from mlsys.errors import UserError
from mlsys.files import replacing
from mlsys.rag import cache
from mlsys.rag.corpus import LabelledQuestion, Passage, TokenSpans, digest
from mlsys.record import Scalar

FEWEST_WORDS = 20
SUMMARY_WORDS = range(4, 21)
FORMAT = 2  # of the file of gathered text; a change here gathers anew


@dataclass(frozen=True, slots=True)
class _Text:
    source: str
    position: int
    text: str
    question: str = ""


class Pydocs:
    """`passages` texts of at most `max_words` words each; one question for every docstring among them."""

    def __init__(self, name: str, passages: int, max_words: int) -> None:
        if passages < 1:
            raise UserError(f"corpus.passages={passages} must be at least 1")
        if max_words < FEWEST_WORDS:
            raise UserError(f"corpus.max_words={max_words} must be at least {FEWEST_WORDS}")
        self.name, self._count, self._max_words = name, passages, max_words
        self.passages: list[Passage] = []
        self.questions: list[LabelledQuestion] = []

    def load(self, token_spans: TokenSpans) -> None:
        """Gather the documentation, or read what was gathered before. Raises UserError if Python has none."""
        docstrings, topics = _gathered()
        asked = _chosen(docstrings, self._count - min(self._count // 2, len(topics)))
        others = _chosen(topics, self._count - len(asked))
        texts = _chosen([*asked, *others], self._count)
        if not texts:
            raise UserError("corpus=pydocs: this Python carries neither its documentation nor its sources")
        self.passages = [
            Passage(i, " ".join(text.text.split()[: self._max_words]), text.source, text.position)
            for i, text in enumerate(texts)
        ]
        self.questions = [LabelledQuestion(text.question, i) for i, text in enumerate(texts) if text.question]

    @property
    def digest(self) -> str:
        """sha256 of the passages."""
        return digest(self.passages)

    def describe(self) -> dict[str, Scalar]:
        """Counts, and which Python's documentation it is."""
        return {
            "passages": len(self.passages),
            "questions": len(self.questions),
            "documentation": f"Python {sys.version.split()[0]}",
        }


def _chosen(texts: Iterable[_Text], count: int) -> list[_Text]:
    return sorted(texts, key=lambda text: hashlib.sha256(text.text.encode()).digest())[:count]


def _gathered() -> tuple[list[_Text], list[_Text]]:
    """(docstrings with questions, paragraphs), kept in the cache: reading all sources takes seconds."""
    key = hashlib.sha256(f"{sys.version}\0{sysconfig.get_path('stdlib')}".encode()).hexdigest()[:16]
    path = cache.directory("corpus") / f"pydocs-{FORMAT}-{key}.json"
    with cache.locked(path):
        if not path.exists():
            with progress.step("reading the documentation of this Python"):
                content = [[_row(text) for text in part] for part in (_docstrings(), _paragraphs())]
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(content))
        docstrings, topics = json.loads(path.read_text())
    return [_Text(*row) for row in docstrings], [_Text(*row) for row in topics]


def _row(text: _Text) -> list[str | int]:
    return [text.source, text.position, text.text, text.question]


def _docstrings() -> list[_Text]:
    """Docstrings of public objects in top-level modules, with a summary that no other docstring shares."""
    found: dict[str, list[_Text]] = {}
    folder = Path(sysconfig.get_path("stdlib"))
    for module in sorted(sys.stdlib_module_names):
        path = folder / f"{module}.py"
        if module.startswith("_") or not path.exists():
            continue
        for name, line, docstring in _documented(ast.parse(path.read_text(encoding="utf-8")), module):
            text = _asked(name, line, docstring)
            if text:
                found.setdefault(text.question, []).append(text)
    return [texts[0] for texts in found.values() if len(texts) == 1]


def _documented(tree: ast.AST, name: str) -> Iterator[tuple[str, int, str]]:
    if isinstance(tree, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        docstring = ast.get_docstring(tree)
        if docstring:
            yield name, getattr(tree, "lineno", 1), docstring
        for node in tree.body:
            if (
                isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
                and node.name[0] != "_"
            ):
                yield from _documented(node, f"{name}.{node.name}")


def _asked(name: str, line: int, docstring: str) -> _Text | None:
    summary, _, rest = docstring.partition("\n")
    words, summary = rest.split(), summary.strip()
    fits = summary.endswith(".") and len(summary.split()) in SUMMARY_WORDS and not summary.startswith(">>>")
    if not fits or len(words) < FEWEST_WORDS:
        return None
    return _Text(name, line, f"{name}: {' '.join(words)}", summary)


def _paragraphs() -> list[_Text]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ModuleNotFoundError:  # some distributions leave it out
        return []
    found: dict[str, _Text] = {}  # some paragraphs stand under several topics
    for topic, text in sorted(topics.items()):
        for position, paragraph in enumerate(text.split("\n\n")):
            words = paragraph.split()
            if len(words) >= FEWEST_WORDS:
                found.setdefault(" ".join(words), _Text(f"topic {topic}", position, " ".join(words)))
    return list(found.values())
