"""A tokenizer made in memory for random weights on a machine that has none: byte-level BPE of Python's docs.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016). Learnt on the language
reference, so that a prompt has about as many tokens as with a published tokenizer.
"""

from __future__ import annotations

import importlib

from mlsys.rag.tokens import Chatting

LARGEST = 8192
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def build(size: int) -> Chatting:
    """A chat tokenizer of at most `size` ids (259 at least): every byte sequence can be written with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(size, LARGEST),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    special = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    return Chatting(tokenizer, special, TEMPLATE)


def _texts() -> list[str]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ModuleNotFoundError:  # some distributions leave it out; bytes alone do then
        return []
    return list(topics.values())
