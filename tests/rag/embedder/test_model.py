"""sentence-transformers models, with a tiny random one in a folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saving
import torch
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag import hub
from mlsys.rag.embedder import bert
from mlsys.rag.embedder.encoder import Library
from mlsys.rag.embedder.model import E5_INSTRUCT, ModelEmbedder

TEXTS = ["a cat", "a much longer text about dogs and what they do all day long", "birds"]


def write_model(folder: Path, prompts: dict[str, str] | None = None) -> Path:
    """A tiny random BERT with mean pooling, in the files that sentence-transformers reads."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=600, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    saving.vocabulary(folder, 600)
    modules = {"": "Transformer", "1_Pooling": "Pooling"}
    files = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": prompts or {}, "default_prompt_name": None},
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("embedder"))


def loaded(path: Path, **knobs: Any) -> ModelEmbedder:
    embedder: ModelEmbedder = option("embedder/model", model=str(path), **knobs)
    embedder.load("cpu")
    return embedder


def test_a_vector_does_not_depend_on_its_batch_mates(folder: Path) -> None:
    embedder = loaded(folder)
    together = embedder.queries(TEXTS)
    assert together.shape == (3, 32)
    assert together.dtype == np.float32
    np.testing.assert_allclose(
        together, np.concatenate([embedder.queries([text]) for text in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    assert embedder.describe()["dim"] == 32
    assert embedder.describe()["model"] == str(folder)


def test_prefixes_are_the_models_own_unless_asked_otherwise(tmp_path: Path, folder: Path) -> None:
    torch.manual_seed(0)
    stated = loaded(write_model(tmp_path, {"query": "ask: ", "document": "text: "}))
    bare = loaded(folder)
    np.testing.assert_allclose(
        stated.queries(TEXTS), bare.queries(["ask: " + text for text in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        stated.passages(TEXTS), bare.passages(["text: " + text for text in TEXTS]), atol=1e-6
    )
    assert stated.describe()["query_prefix"] == "ask: "
    other = loaded(folder, query_prefix="q ", normalize=False)
    assert other.describe()["query_prefix"] == "q "
    assert not np.allclose(np.linalg.norm(other.queries(TEXTS), axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("multilingual-e5-large-instruct", E5_INSTRUCT, ""),
        ("e5-small-v2", "query: ", "passage: "),
        ("all-minilm", "", ""),
    ],
)
def test_families_that_do_not_state_their_prefixes_are_known(
    folder: Path, tmp_path: Path, name: str, query: str, passage: str
) -> None:
    (tmp_path / name).symlink_to(folder)
    described = loaded(tmp_path / name).describe()
    assert (described["query_prefix"], described["passage_prefix"]) == (query, passage)


def test_the_identity_changes_with_what_decides_the_vectors(folder: Path, tmp_path: Path) -> None:
    identity = loaded(folder).identity
    assert loaded(folder).identity == identity
    assert loaded(folder, passage_prefix="text: ").identity != identity
    assert loaded(folder, normalize=False).identity != identity
    torch.manual_seed(1)
    assert loaded(write_model(tmp_path, {"document": ""})).identity != identity


def test_token_spans_cover_the_words(folder: Path) -> None:
    text = "a cat, sat " * 100
    spans = loaded(folder).token_spans(text)
    assert len(spans) > 300
    assert "".join(text[start:end] for start, end in spans).split() == text.split()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"embedder.model is empty"):
        option("embedder/model", model="")
    with pytest.raises(UserError, match=r"embedder.batch_size=0 must be at least 1"):
        option("embedder/minilm", batch_size=0)
    nothing = option("embedder/model", model=str(tmp_path))
    with pytest.raises(UserError, match=r"^embedder.model=/.* cannot be loaded: [^\n]+$"):
        nothing.load("cpu")


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_bert_gives_the_vectors_of_the_library(
    tmp_path: Path, device: str, pooling: str, normalize: bool
) -> None:
    torch.manual_seed(0)
    folder = write_model(tmp_path)
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, f"pooling_mode_{pooling}": True})
    )
    ours = bert.read(folder, device)
    assert ours is not None
    theirs = Library(hub.Location(str(folder), True), device, None, False)
    texts = [*TEXTS, "long " * 200]
    np.testing.assert_allclose(
        ours.encode(texts, 2, normalize), theirs.encode(texts, 2, normalize), rtol=1e-5, atol=1e-6
    )
    assert ours.spans(texts[1]) == theirs.spans(texts[1])
    for name in ("prompts", "parameters", "dim", "max_tokens"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": None}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"}),
    ],
    ids=str,
)
def test_what_is_more_than_such_a_bert_is_left_to_the_library(
    tmp_path: Path, file: str, more: dict[str, Any]
) -> None:
    folder = write_model(tmp_path)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | more))
    assert bert.read(folder, "cpu") is None
