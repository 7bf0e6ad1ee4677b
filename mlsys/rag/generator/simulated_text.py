"""What a simulated answer says: words that are decided by all tokens before them, as a language model's are.

So an answer shows whether its sequence was kept whole: a token or a block of another sequence changes the rest of it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

from mlsys.rag.generator.stepping import GREEDY, Sampling

WORDS = (
    "the", "answer", "lies", "in", "passage", "one", "two", "and", "says", "that", "it", "is", "so", "because",
)  # fmt: skip


def next_token(ids: Sequence[int], sampling: Sampling = GREEDY) -> int:
    """The token after `ids` (each below 2**32). Sampled ones depend on the seed too."""
    text = array("I", ids).tobytes()
    drawn = f"{sampling}".encode() if sampling.temperature > 0 else b""
    return int.from_bytes(hashlib.blake2b(text + drawn, digest_size=4).digest(), "big") % len(WORDS)


def spell(ids: Sequence[int]) -> str:
    """The words of an answer's tokens."""
    return " ".join(WORDS[id_] for id_ in ids)
