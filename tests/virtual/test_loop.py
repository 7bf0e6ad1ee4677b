from __future__ import annotations

import asyncio
import gc

import pytest

from mlsys.virtual.loop import NothingHappens, VirtualLoop, run, step_by_step


def test_an_hour_passes_at_once_and_to_the_digit() -> None:
    async def work(loop: VirtualLoop) -> tuple[float, float]:
        began = loop.time()
        await asyncio.sleep(3600.25)
        return began, loop.time()

    assert run(work) == (0.0, 3600.25)


def test_a_workers_sleep_passes_for_others_too_and_what_it_says_is_heard_at_its_time() -> None:
    heard: list[tuple[str, float]] = []

    async def work(loop: VirtualLoop) -> None:
        def works() -> str:
            loop.sleep(2.0)
            loop.call_soon_threadsafe(lambda: heard.append(("half", loop.time())))
            loop.sleep(3.0)
            return "done"

        async def waits() -> None:
            await asyncio.sleep(1.0)
            heard.append(("beside", loop.time()))

        beside = asyncio.create_task(waits())
        result = await loop.run_in_executor(None, works)
        heard.append((result, loop.time()))
        await beside

    run(work)
    assert heard == [("beside", 1.0), ("half", 2.0), ("done", 5.0)]


def test_what_stops_the_program_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work(loop: VirtualLoop) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(step_by_step(work))
    gc.collect()
    assert caplog.messages == []


def test_two_workers_work_at_once() -> None:
    async def work(loop: VirtualLoop) -> float:
        await asyncio.gather(*(loop.run_in_executor(None, loop.sleep, seconds) for seconds in (2.0, 3.0)))
        return loop.time()

    assert run(work) == 3.0


def test_what_a_worker_says_last_is_heard_before_it_ends() -> None:
    heard: list[str] = []

    async def work(loop: VirtualLoop) -> None:
        def works() -> None:
            loop.sleep(1.0)
            for word in ("one", "two"):
                loop.call_soon_threadsafe(heard.append, word)

        await loop.run_in_executor(None, works)
        heard.append("end")

    run(work)
    assert heard == ["one", "two", "end"]


def test_a_workers_error_is_raised_when_it_came() -> None:
    async def work(loop: VirtualLoop) -> float:
        def works() -> None:
            loop.sleep(1.5)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await loop.run_in_executor(None, works)
        return loop.time()

    assert run(work) == 1.5


def test_a_hang_is_an_error() -> None:
    async def work(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingHappens):
        run(work)


def test_only_workers_may_sleep() -> None:
    async def work(loop: VirtualLoop) -> None:
        loop.sleep(1.0)

    with pytest.raises(RuntimeError, match="must await"):
        run(work)
