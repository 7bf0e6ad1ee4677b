"""Which block of the engine's pool holds which tokens, so that what prompts begin with alike is read once.

A tree: a node stands for one block of tokens after all the blocks above it. It is found by these very tokens and not by
a hash of them, so a hit is exact. (The same is held as a radix tree by Zheng et al., "SGLang", 2024, and as a chain of
hashes by vLLM.) The block that was used longest ago makes room, those of a prompt from its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


class Node:
    """One block of tokens, whose keys and values are in `block` of the pool once step `made_in` is done."""

    __slots__ = ("block", "children", "made_in", "parent", "pins", "tokens")

    def __init__(self, parent: Node | None, tokens: tuple[int, ...], block: int, made_in: int) -> None:
        self.parent, self.tokens, self.block, self.made_in = parent, tokens, block, made_in
        self.children: dict[tuple[int, ...], Node] = {}
        self.pins = 0


class PrefixCache:
    """`blocks` blocks of `block_tokens` tokens; with none nothing is ever found. Steps are numbered by the caller."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.blocks, self.block_tokens = blocks, block_tokens
        self.queried_tokens = self.hit_tokens = 0
        self.clear()

    def clear(self) -> None:
        """Nothing is kept any more."""
        self.root = Node(None, (), -1, -1)
        self._free = list(reversed(range(self.blocks)))
        self._used: OrderedDict[Node, None] = OrderedDict()  # the one used longest ago first

    @property
    def used(self) -> int:
        """Blocks that hold something."""
        return len(self._used)

    def find(self, ids: Sequence[int]) -> list[Node]:
        """Nodes of the blocks that `ids` begins with, never all of `ids`: the last token's logits must be computed."""
        node, found, size = self.root, [], self.block_tokens
        for start in range(0, len(ids) - size, size):
            child = node.children.get(tuple(ids[start : start + size]))
            if child is None:
                break
            found.append(child)
            node = child
        return found

    def take(self, ids: Sequence[int], nodes: Sequence[Node]) -> Node:
        """`ids` will be read with `nodes` loaded. The last of them, kept until it is given to `release`."""
        self.queried_tokens += len(ids)
        self.hit_tokens += len(nodes) * self.block_tokens
        return self._pin(nodes[-1] if nodes else self.root)

    def extend(self, node: Node, tokens: tuple[int, ...], step: int) -> tuple[Node | None, bool]:
        """The node of `tokens` after `node`, whose pin goes over to it, and whether its block must be saved in `step`.

        None where there is no room, since all blocks are in use: the pin is given up then.
        """
        child, is_new = node.children.get(tokens), False
        if child is None and (block := self._room(step)) is not None:
            child, is_new = Node(node, tokens, block, step), True
            node.children[tokens] = child
            self._used[child] = None
        if child is None:
            self.release(node)
            return None, False
        node.pins -= 1
        return self._pin(child), is_new

    def release(self, node: Node) -> None:
        """It may make room for others, after what is above it: that is the latest used from now on."""
        node.pins -= 1
        above: Node | None = node
        while above is not None and above is not self.root:
            self._used.move_to_end(above)
            above = above.parent

    def _pin(self, node: Node) -> Node:
        node.pins += 1
        return node

    def _room(self, step: int) -> int | None:
        """A block that nobody uses: one that is free, or the one used longest ago that no step is about to fill."""
        if self._free:
            return self._free.pop()
        for node in self._used:
            if not node.children and not node.pins and node.made_in != step:
                del self._used[node]
                if node.parent is not None:
                    del node.parent.children[node.tokens]
                return node.block
        return None
