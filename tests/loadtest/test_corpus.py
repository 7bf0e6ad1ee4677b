from __future__ import annotations

from pathlib import Path

from mlsys.loadtest import corpus

ANIMALS = {"_target_": "mlsys.rag.corpus.animals.Animals", "name": "animals"}


class Cut:
    """A corpus that cuts by tokens, with as many questions as told."""

    def __init__(self, count: int) -> None:
        self.count = count

    def load(self, token_spans: corpus.Words) -> None:
        from mlsys.rag.corpus import LabelledQuestion

        self.questions = [LabelledQuestion(f"q{i}", i) for i in range(self.count)]
        assert token_spans("two words") == [(0, 3), (4, 9)]


def test_the_corpus_knows_its_questions_and_their_passages() -> None:
    found = corpus.questions(ANIMALS)
    assert [question.id for question in found] == list(range(6))
    assert found[2].text == "Are dogs wild animals?"
    assert found[2].passage_id == 1


def test_passages_that_depend_on_a_tokenizer_are_not_claimed() -> None:
    found = corpus.questions({"_target_": f"{__name__}.Cut", "count": 2})
    assert [(question.text, question.passage_id) for question in found] == [("q0", None), ("q1", None)]


def test_a_corpus_without_questions_is_asked_one(tmp_path: Path) -> None:
    assert [q.text for q in corpus.questions({"_target_": f"{__name__}.Cut", "count": 0})] == [
        corpus.FALLBACK
    ]
