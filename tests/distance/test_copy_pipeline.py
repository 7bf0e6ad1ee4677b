"""One thread fills, another carries: in order, no slot in both hands, and an error in either ends both."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from mlsys.distance.copy_pipeline import relay
from mlsys.distance.threads import torch_threads


def test_every_piece_is_carried_in_order_from_the_slot_it_was_filled_into() -> None:
    slots: list[list[int]] = [[-1] for _ in range(3)]
    carried: list[int] = []
    threads = set()

    def fill(slot: list[int], piece: int) -> None:
        assert slot[0] == -1  # has been carried
        slot[0] = piece

    def carry(slot: list[int], piece: int) -> None:
        time.sleep(0.001 * (piece % 3))
        assert slot[0] == piece
        carried.append(piece)
        threads.add(threading.current_thread())
        slot[0] = -1

    relay(range(50), slots, fill, carry)
    assert carried == list(range(50))
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


def test_pieces_are_filled_while_one_is_being_carried() -> None:
    third_filled = threading.Event()

    def fill(slot: int, piece: int) -> None:
        if piece == 2:
            third_filled.set()

    def carry(slot: int, piece: int) -> None:
        assert piece > 0 or third_filled.wait(10)

    relay(range(5), range(3), fill, carry)
    assert third_filled.is_set()


@pytest.mark.parametrize("where", ["fill", "carry"])
def test_an_error_ends_both_and_reaches_the_caller(where: str) -> None:
    done: list[tuple[str, int]] = []

    def step(name: str, piece: int) -> None:
        if name == where and piece == 4:
            raise OSError("the disk is gone")
        done.append((name, piece))

    with pytest.raises(OSError, match="the disk is gone"):
        relay(
            range(1000), range(2), lambda _, piece: step("fill", piece), lambda _, piece: step("carry", piece)
        )
    assert [piece for name, piece in done if name == "carry"] == [0, 1, 2, 3]
    assert len(done) < 12
    assert not [thread for thread in threading.enumerate() if thread.name == "mlsys-carry"]


def test_torch_has_one_thread_less_meanwhile_also_after_an_error() -> None:
    seen = []

    def fill(slot: int, piece: int) -> None:
        seen.append(torch.get_num_threads())
        if piece == 2:
            raise OSError("the disk is gone")

    for threads in (4, 1):
        with torch_threads(threads):
            relay(range(2), range(2), fill, lambda *_: None)
            with pytest.raises(OSError, match="the disk is gone"):
                relay(range(3), range(2), fill, lambda *_: None)
            assert torch.get_num_threads() == threads
    assert seen == [3] * 5 + [1] * 5
