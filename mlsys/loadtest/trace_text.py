"""Prompts as long as a trace says, alike where it says so. The words mean nothing: a trace holds no text.

Each word is one token to the usual byte-pair and word-piece vocabularies, so that a prompt of n words has n tokens.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mlsys.loadtest.trace_file import Traced

BLOCK, OWN = 0x626C6F63, 0x6F776E20  # keep these draws apart from each other and from others of the same seed
KEPT = 4096  # blocks whose text is kept
VOCABULARY = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
one you were all her she there would their we him been has when who will no more if out so up said what its
about than into them can only other time new some could these two may first then do any like my now over such
our man me even most made after also well did many before must through back where much way down should because
each just those people how too good day same work life being under never last world still men another great old
year off come since go against came right used take three states himself few house use during without place
around small however home found thought went say part once general high upon school every does got united left
number course war until always away fact though water less public put think almost hand enough far took head yet
system better
"""
WORDS = VOCABULARY.split()


class Texts:
    """The text of each request. `block_tokens`: how many tokens a block has (Mooncake's: 512)."""

    def __init__(self, block_tokens: int, seed: int) -> None:
        self._block_tokens, self._seed = block_tokens, seed
        self._block = lru_cache(KEPT)(self._drawn_block)

    def __call__(self, number: int, request: Traced, most: int | None) -> str:
        """The prompt of the request of this number, cut after `most` tokens. Equal blocks have equal text."""
        tokens = max(1, request.input_tokens or 1)
        tokens = tokens if most is None else min(tokens, most)
        words: list[str] = []
        for block in request.blocks[: -(-tokens // self._block_tokens)]:
            words += self._block(block)
        rest = tokens - len(words)
        return " ".join(words[:tokens] if rest <= 0 else [*words, *self._words((OWN, number), rest)])

    def _drawn_block(self, block: int) -> list[str]:
        return self._words((BLOCK, block), self._block_tokens)

    def _words(self, key: tuple[int, int], count: int) -> list[str]:
        drawn = np.random.default_rng([self._seed, *key]).integers(len(WORDS), size=count)
        return [WORDS[i] for i in drawn.tolist()]
