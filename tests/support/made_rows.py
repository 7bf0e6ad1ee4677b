"""Rows of a load level, as a client would have stamped them."""

from __future__ import annotations

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row


def row(intended_s: float, done_s: float, phase: str = MEASURED, outcome: str = OK, **more: object) -> Row:
    made = Row(0, 0, phase=phase, intended_s=intended_s, sent_s=intended_s, done_s=done_s, outcome=outcome)
    for name, value in more.items():
        setattr(made, name, value)
    return made
