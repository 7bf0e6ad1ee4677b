"""A tokenizer by the library `tokenizers` alone: what transformers makes of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import saving

from mlsys.rag import tokens

TEXTS = ["A cat, naïve 🦜.", "", "<|im_start|>user\nHello<|im_end|>"]
TALK = [{"role": "system", "content": "Be short."}, {"role": "user", "content": " Hi? "}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saving.vocabulary(tmp_path, 600)
    return tmp_path


def told(folder: Path, **more: Any) -> None:
    path = folder / tokens.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.mark.parametrize("special", [True, False])
def test_ids_texts_and_templates_are_those_of_transformers(folder: Path, special: bool) -> None:
    from transformers import AutoTokenizer

    (folder / tokens.TEMPLATE).write_text(
        "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content | trim }}{% continue %}{% endif %}"
        "{{ m | tojson }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}:{% endif %}"
    )
    theirs, ours = AutoTokenizer.from_pretrained(folder), tokens.read(folder)
    assert ours is not None
    rows = ours(TEXTS, add_special_tokens=special)["input_ids"]
    assert rows == theirs(TEXTS, add_special_tokens=special)["input_ids"]
    assert ours(TEXTS[0])["input_ids"] == theirs(TEXTS[0])["input_ids"]
    for skip in (True, False):
        assert ours.batch_decode(rows, skip) == theirs.batch_decode(rows, skip_special_tokens=skip)
    written = ours.apply_chat_template(TALK, tokenize=False, add_generation_prompt=special)
    assert written == theirs.apply_chat_template(TALK, tokenize=False, add_generation_prompt=special)
    assert (ours.eos_token_id, ours.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id)


@pytest.mark.parametrize(
    "more",
    [
        {"tokenizer_class": "LlamaTokenizer"},
        {"clean_up_tokenization_spaces": True},
        {"add_bos_token": True},
        {"auto_map": {"AutoTokenizer": ["own.py", None]}},
        {"eos_token": "<never seen>"},
        {"chat_template": [{"name": "default", "template": "a"}]},
    ],
    ids=str,
)
def test_a_tokenizer_that_is_more_than_its_file_is_left_to_transformers(
    folder: Path, more: dict[str, Any]
) -> None:
    assert tokens.read(folder) is not None
    told(folder, **more)
    assert tokens.read(folder) is None


def test_a_template_reaches_nothing_outside(folder: Path) -> None:
    told(folder, chat_template="{{ messages.__class__.__mro__ }}")
    made = tokens.read(folder)
    assert made is not None
    with pytest.raises(Exception, match="unsafe"):
        made.apply_chat_template(TALK, tokenize=False, add_generation_prompt=False)
