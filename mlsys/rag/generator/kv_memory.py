"""How many sequences, and how many shared blocks, the memory for keys and values holds.

Every slot has room for the longest sequence that may come, so that a sequence once begun is never without memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlsys.errors import UserError
from mlsys.record import Scalar

BLOCK_TOKENS = 16
MOST_SLOTS = 256  # where nobody names a number
CPU_SHARE, CUDA_SHARE = 0.5, 0.8  # of the free memory, where nobody names an amount
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Sizes:
    """`slots` of `slot_tokens` and `blocks` of `block_tokens` tokens, each token `token_bytes`."""

    slots: int
    slot_tokens: int
    blocks: int
    block_tokens: int
    token_bytes: int

    @property
    def kv_bytes(self) -> int:
        """Of all keys and values."""
        return (self.slots * self.slot_tokens + self.blocks * self.block_tokens) * self.token_bytes

    def describe(self) -> dict[str, Scalar]:
        """What the record says."""
        return {
            "slots": self.slots,
            "slot_tokens": self.slot_tokens,
            "blocks": self.blocks,
            "block_tokens": self.block_tokens,
            "kv_bytes": self.kv_bytes,
            "kv_bytes_per_token": self.token_bytes,
        }


def divide(
    memory: int | None, free: int, token_bytes: int, slots: int | None, prefix_share: float, longest: int
) -> Sizes:
    """Divide `memory` bytes (None: of the `free` ones what the slots need) into slots and a pool.

    `prefix_share` of it is the pool's. Raises UserError where there is no room for one sequence of `longest` tokens.
    """
    if not 0 <= prefix_share < 1:
        raise UserError(f"scheduling.prefix_share={prefix_share} must be 0 or more and less than 1")
    if slots is not None and slots < 1:
        raise UserError(f"scheduling.slots={slots} must be at least 1")
    slot_tokens = -(-longest // BLOCK_TOKENS) * BLOCK_TOKENS
    slot_bytes, most = slot_tokens * token_bytes, slots or MOST_SLOTS
    given = free if memory is None else memory
    found = min(most, int(given * (1 - prefix_share)) // slot_bytes)
    if found < 1:
        raise UserError(
            f"scheduling.kv_memory={'null' if memory is None else memory}: {given / MEBIBYTE:.0f} MiB and "
            f"prefix_share={prefix_share} leave no room for a sequence of {longest} tokens, "
            f"which takes {slot_bytes / MEBIBYTE:.0f} MiB"
        )
    pool = given * prefix_share
    if memory is None:
        pool = min(pool, found * slot_bytes * prefix_share / (1 - prefix_share))
    return Sizes(found, slot_tokens, int(pool) // (BLOCK_TOKENS * token_bytes), BLOCK_TOKENS, token_bytes)
