"""What a reader of a format says of a file: where its elements stand; and which tensor of several was meant."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.errors import UserError

NAMES_SHOWN = 8


@dataclass(frozen=True)
class Layout:
    """Elements of `dtype` from byte `offset` on, row after row.

    `row_head`: an int32 that stands before each row (.fvecs), checked whenever the row is read. `exact`: nothing
    follows the elements.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int = 0
    row_head: int | None = None
    exact: bool = True


@dataclass(frozen=True)
class Key:
    """The option that chooses one tensor of a file, and its value."""

    option: str
    value: str | None = None

    def choose(self, names: list[str]) -> str:
        """The tensor meant: the one named, or the only one there is. Raises UserError that lists the names."""
        shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
        if not names:
            raise UserError("holds no tensors")
        if self.value is None and len(names) > 1:
            raise UserError(f"has {len(names)} tensors ({shown}): choose one with {self.option}=NAME")
        if self.value is not None and self.value not in names:
            raise UserError(f"has no tensor {self.value} (from {self.option}); it has {shown}")
        return names[0] if self.value is None else self.value

    def unused(self, reason: str) -> None:
        """Raise UserError if a tensor was named where there is nothing to choose."""
        if self.value is not None:
            raise UserError(f"{reason}: leave out {self.option}={self.value}")
