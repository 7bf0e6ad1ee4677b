"""What is read of a GGUF file here: its tokenizer and what its weights are."""

from __future__ import annotations

from pathlib import Path

import made_gguf
import pytest
from gguf import GGUFReader

from mlsys.errors import UserError
from mlsys.rag.generator import gguf_file


def test_the_types_of_the_weights_come_with_the_commonest_first(tmp_path: Path) -> None:
    path = made_gguf.made(tmp_path)
    assert gguf_file.find(str(path)) == path
    assert gguf_file.weights(path) == "Q4_1, F32"
    assert len(gguf_file.chat(path).prompts([("Be brief.", "Why?")])[0].ids) > 10


def test_quantised_weights_are_written_once_as_the_float16_that_they_stand_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path / "cache"))
    path = made_gguf.made(tmp_path)
    plain = gguf_file.as_float16(path)
    assert gguf_file.weights(plain) == "F16, F32"
    tensor = GGUFReader(plain).tensors[0]
    assert (tensor.name, tensor.shape.tolist()) == ("output.weight", [64, 8])
    assert tensor.data.min() == tensor.data.max() == 1
    written = plain.stat().st_mtime_ns
    assert gguf_file.as_float16(path) == plain
    assert plain.stat().st_mtime_ns == written
    assert gguf_file.as_float16(plain) == plain


def test_a_file_that_is_not_what_it_says_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"generator\.model=.*other\.gguf cannot be read: "):
        gguf_file.weights(path)
    with pytest.raises(UserError, match=r"generator\.model=.*other\.gguf has no tokenizer to read: "):
        gguf_file.chat(path)
