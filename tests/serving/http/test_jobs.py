"""Jobs are kept for a time and a number."""

import asyncio
import uuid

import pytest
from turned_clock import Clock

from mlsys.serving.http.jobs import Jobs
from mlsys.serving.modes import Answer
from mlsys.serving.request import Failed, Refused, ServiceError


async def answer(text: bytes = b"{}") -> Answer:
    return Answer(text)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_job_is_pending_then_done_then_gone() -> None:
    clock = Clock()
    jobs = Jobs(ttl_s=60, most=5, clock=clock)
    job = jobs.submit(answer(b'{"a": 1}'))
    assert (jobs.get(job.id), job.outcome) == (job, None)
    assert jobs.running == 1
    await settle()
    assert jobs.running == 0
    assert jobs.get(job.id) is job
    assert isinstance(job.outcome, Answer)
    assert job.outcome.content() == {"a": 1}
    clock.now = 60.0
    assert jobs.get(job.id) is job
    clock.now = 60.1
    assert jobs.get(job.id) is None
    assert jobs.get(uuid.uuid4()) is None


async def test_the_oldest_finished_makes_room_running_ones_never() -> None:
    jobs = Jobs(ttl_s=60, most=2)
    forever = asyncio.Event()

    async def waits() -> Answer:
        await forever.wait()
        return Answer(b"{}")

    running = jobs.submit(waits())
    finished = jobs.submit(answer())
    await settle()
    jobs.make_room()
    assert jobs.get(finished.id) is None
    assert jobs.get(running.id) is running
    jobs.submit(waits())
    with pytest.raises(Refused, match=r"server\.jobs_max=2 jobs are running"):
        jobs.make_room()
    forever.set()
    await settle()
    assert jobs.running == 0


async def test_errors_are_outcomes() -> None:
    jobs = Jobs(ttl_s=60, most=5)

    async def fails() -> Answer:
        raise Failed("no")

    async def breaks() -> Answer:
        raise RuntimeError("bug")

    refused, broken = jobs.submit(fails()), jobs.submit(breaks())
    await settle()
    assert isinstance(refused.outcome, ServiceError)
    assert isinstance(broken.outcome, ServiceError)
    assert refused.outcome.message == "no"
    assert broken.outcome.status == 500
    assert broken.outcome.message == "RuntimeError: bug"
