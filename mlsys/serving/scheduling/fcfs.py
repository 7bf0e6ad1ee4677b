"""`scheduling=fcfs`: first come, first served."""

from __future__ import annotations

from mlsys.serving.scheduling import Policy


class FirstCome(Policy):
    """By arrival; nobody is put off for another."""
