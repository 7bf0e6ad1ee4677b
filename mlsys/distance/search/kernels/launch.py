"""The search's kernels, compiled on first use and then launched without Triton looking at every argument again.

What Triton would have looked at is the callers' duty: every tensor begins at a multiple of 16 bytes (`placed`), and
the dtypes of a kernel's tensors follow from its `kinds`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from mlsys.distance.launch import ALIGNMENT, Kernel

Kinds = tuple[torch.device, torch.dtype, torch.dtype]


@lru_cache(maxsize=512)
def compiled(function: Any, warps: int, kinds: Kinds, **constants: Any) -> Kernel:
    """A kernel with its constants for tensors of these kinds; one that takes none of the constants ignores them."""
    return Kernel(function, constants, warps)


def kinds(queries: torch.Tensor, rows: torch.Tensor) -> Kinds:
    """What tells compiled kernels apart beside their constants."""
    return rows.device, queries.dtype, rows.dtype


def placed(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, copied where it begins between multiples of 16 bytes, as views can."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor
