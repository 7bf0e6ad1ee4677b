"""A cross-encoder in a folder: tiny, with random weights, so only the way is tested and no judgement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import saving
from sections import made as option

from mlsys.errors import UserError

PAIRS = [("what purrs?", "cats purr"), ("what purrs?", "dogs bark at night"), ("who?", "birds")]


def write_model(folder: Path, labels: int = 1, safe: bool = True) -> str:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=600,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    saving.vocabulary(folder, 600)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return str(folder)


def test_pairs_are_scored_each_by_itself_whatever_the_batch(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    reranker = option("reranker/cross_encoder", model=model, max_tokens=32)
    reranker.load("cpu")
    scores = reranker.scores(PAIRS)
    assert (scores.dtype, scores.shape) == (np.float32, (3,))
    assert len(set(scores.tolist())) == 3
    alone = [float(reranker.scores([pair])[0]) for pair in PAIRS]
    np.testing.assert_allclose(scores, alone, rtol=1e-4)
    described = reranker.describe()
    assert (described["model"], described["candidates"], described["max_tokens"]) == (model, 20, 32)


def test_what_would_be_unpickled_is_refused(tmp_path: Path) -> None:
    reranker = option("reranker/cross_encoder", model=write_model(tmp_path, safe=False))
    with pytest.raises(UserError, match=r"^reranker.model=.* cannot be loaded: .*safetensors"):
        reranker.load("cpu")


def test_a_model_with_several_numbers_for_a_pair_is_no_reranker(tmp_path: Path) -> None:
    reranker = option("reranker/cross_encoder", model=write_model(tmp_path, labels=3))
    with pytest.raises(UserError, match=r"gives 3 numbers for a pair, a reranker gives one"):
        reranker.load("cpu")


def test_wrong_knobs_are_named() -> None:
    with pytest.raises(UserError, match=r"^reranker.model is empty: give a hub id or a folder"):
        option("reranker/cross_encoder")
    with pytest.raises(UserError, match=r"^reranker.candidates=0 must be at least 1"):
        option("reranker/cross_encoder", model="a/b", candidates=0)
