"""Scalars of records and descriptions, as a test takes them."""

from __future__ import annotations

from mlsys.record import Scalar


def number(value: Scalar) -> float:
    """The value, which must be a number."""
    assert isinstance(value, (int, float)), value
    return value
