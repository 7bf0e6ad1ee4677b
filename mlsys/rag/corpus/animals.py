"""`corpus=animals`: the three sentences that the published experiment used, each with questions about it."""

from __future__ import annotations

from mlsys.rag.corpus import LabelledQuestion, Passage, TokenSpans, digest
from mlsys.record import Scalar

SENTENCES = (
    "Cats are small furry carnivores that are often kept as pets.",
    "Dogs are domesticated mammals, not natural wild animals.",
    "Hummingbirds are colourful birds native to the Americas; they can hover in mid-air.",
)
QUESTIONS = (
    ("Which animals are small furry carnivores kept as pets?", 0),
    ("What do cats look like?", 0),
    ("Are dogs wild animals?", 1),
    ("Which mammals have been domesticated?", 1),
    ("Which birds can hover in the air?", 2),
    ("Where do hummingbirds come from?", 2),
)


class Animals:
    """Three passages, six questions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.passages = [Passage(i, text, "animals", i) for i, text in enumerate(SENTENCES)]
        self.questions = [LabelledQuestion(text, passage) for text, passage in QUESTIONS]

    def load(self, token_spans: TokenSpans) -> None:
        """Nothing to read."""

    @property
    def digest(self) -> str:
        """sha256 of the passages."""
        return digest(self.passages)

    def describe(self) -> dict[str, Scalar]:
        """Counts for the record."""
        return {"passages": len(self.passages), "questions": len(self.questions)}
