"""Blocking code beside a virtual loop: one of both runs at a time, and waiting takes virtual time."""

from __future__ import annotations

import asyncio
import threading

from mlsys.virtual.beside import Beside
from mlsys.virtual.loop import VirtualLoop


def test_a_thread_waits_in_virtual_time_and_others_go_on_meanwhile() -> None:
    loop, heard = VirtualLoop(), list[tuple[str, float]]()
    beside = Beside(loop)
    over, told = beside.event(), beside.event()

    def work() -> None:
        over.wait(2.0)
        heard.append(("woke", loop.time()))
        told.wait()
        heard.append(("was told", loop.time()))

    async def others() -> None:
        await asyncio.sleep(1.0)
        heard.append(("between", loop.time()))
        await asyncio.sleep(9.0)
        told.set()

    thread = beside.thread(work, "works")
    loop.create_task(others())
    thread.start()
    thread.join(60.0)
    assert heard == [("between", 1.0), ("woke", 2.0), ("was told", 10.0)]
    assert thread.over
    loop.close()


def test_a_join_gives_up_after_its_time_and_a_thread_left_behind_ends_with_the_loop() -> None:
    loop = VirtualLoop()
    beside = Beside(loop)
    never = beside.event()

    def work() -> None:
        never.wait()

    thread = beside.thread(work, "waits")
    thread.start()
    thread.join(5.0)
    assert (loop.time(), thread.over) == (5.0, False)
    beside.close()
    threading.Thread.join(thread, 5.0)
    assert not thread.is_alive()
    loop.close()
