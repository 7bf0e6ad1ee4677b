"""Python's own documentation as a corpus: known answers, bounds, the same each time."""

from pathlib import Path
from typing import Any

import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus import pydocs
from mlsys.rag.corpus.pydocs import Pydocs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def in_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(cache))


def loaded(**knobs: int) -> Pydocs:
    corpus: Pydocs = option("corpus/pydocs", **knobs)
    corpus.load(lambda text: pytest.fail("this corpus needs no tokens"))
    return corpus


@pytest.mark.slow
def test_half_of_the_passages_answer_a_question_that_is_not_in_them() -> None:
    corpus = loaded(passages=100, max_words=40)
    assert [passage.id for passage in corpus.passages] == list(range(100))
    assert len(corpus.questions) == 50
    for question in corpus.questions:
        assert question.text not in corpus.passages[question.passage_id].text
        assert 4 <= len(question.text.split()) <= 20
    assert len({question.text for question in corpus.questions}) == 50
    assert all(len(passage.text.split()) <= 40 for passage in corpus.passages)
    assert len({passage.text for passage in corpus.passages}) == 100


def test_it_is_the_same_each_time_and_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(passages=60)
    monkeypatch.setattr(pydocs, "_docstrings", lambda: pytest.fail("read again"))
    again = loaded(passages=60)
    assert again.passages == first.passages
    assert again.questions == first.questions
    assert again.digest == first.digest != loaded(passages=61).digest


def test_a_known_docstring_is_its_own_answer() -> None:
    corpus = loaded(passages=10_000)
    answers = {question.text: corpus.passages[question.passage_id] for question in corpus.questions}
    passage = answers["This class implements semaphore objects."]
    assert passage.source == "threading.Semaphore"
    assert "counter" in passage.text
    assert corpus.describe()["questions"] == len(answers) > 300


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"passages": 0}, r"corpus.passages=0 must be at least 1"),
        ({"max_words": 5}, r"corpus.max_words=5 must be at least 20"),
    ],
)
def test_bad_knobs_are_named(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        option("corpus/pydocs", **knobs)
