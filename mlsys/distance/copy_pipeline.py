"""Buffers that one thread fills while another carries away what is in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import TypeVar

import torch

from mlsys.distance.threads import torch_threads

Slot = TypeVar("Slot")
Piece = TypeVar("Piece")


def relay(
    pieces: Iterable[Piece],
    slots: Sequence[Slot],
    fill: Callable[[Slot, Piece], None],
    carry: Callable[[Slot, Piece], None],
) -> None:
    """Call `fill` here and `carry` in a thread, for every piece in order, each piece with one of the slots.

    A slot is filled again once `carry` has returned for it. It is this thread that fills, because torch's threads
    belong to the thread that calls it: they wait for the next copy spinning, and a thread made for the purpose would
    have to wake others each time. One of them is left out meanwhile, so that every thread has a core.

    Raises what `fill` or `carry` raises: after an error of `fill` what it had filled is still carried, after one of
    `carry` nothing is.
    """
    free: SimpleQueue[Slot] = SimpleQueue()
    filled: SimpleQueue[tuple[Slot, Piece] | None] = SimpleQueue()
    failures: list[BaseException] = []

    def work() -> None:
        while (item := filled.get()) is not None:
            try:
                if not failures:
                    carry(*item)
            except BaseException as error:
                failures.append(error)
            free.put(item[0])

    carrier = threading.Thread(target=work, name="mlsys-carry", daemon=True)
    carrier.start()
    for slot in slots:
        free.put(slot)
    try:
        with torch_threads(max(1, torch.get_num_threads() - 1)):
            for piece in pieces:
                slot = free.get()
                if failures:
                    break
                fill(slot, piece)
                filled.put((slot, piece))
    finally:
        filled.put(None)
        carrier.join()
    if failures:
        raise failures[0]
