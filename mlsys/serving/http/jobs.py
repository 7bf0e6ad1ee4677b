"""Submit and poll: answers wait for their clients for a stated time, and only so many of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass

from mlsys.serving.modes import Answer
from mlsys.serving.request import Clock, Refused, ServiceError


@dataclass
class Job:
    """`outcome` is None while it runs."""

    id: uuid.UUID
    outcome: Answer | ServiceError | None = None
    finished_at: float | None = None


class Jobs:
    """At most `most` jobs, each kept for `ttl_s` after it finished. The oldest finished one makes room
    first.
    """

    def __init__(self, ttl_s: float, most: int, clock: Clock = time.monotonic) -> None:
        self.ttl_s, self.most, self._clock = ttl_s, most, clock
        self._jobs: OrderedDict[uuid.UUID, Job] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, answer: Awaitable[Answer]) -> Job:
        """Run `answer` in the background. Raises Refused if `most` jobs are still running."""
        job = Job(uuid.uuid4())
        self._jobs[job.id] = job
        task = asyncio.ensure_future(self._run(job, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def make_room(self) -> None:
        """Drop what is too old, or the oldest finished. Raises Refused if all places are taken by running
        jobs.
        """
        self._expire()
        if len(self._jobs) < self.most:
            return
        finished = next((job for job in self._jobs.values() if job.outcome is not None), None)
        if finished is None:
            raise Refused(f"server.jobs_max={self.most} jobs are running", 1)
        del self._jobs[finished.id]

    def get(self, job_id: uuid.UUID) -> Job | None:
        """The job, or None if it is unknown or no longer kept."""
        self._expire()
        return self._jobs.get(job_id)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def running(self) -> int:
        """How many have no outcome yet."""
        return len(self._tasks)

    async def _run(self, job: Job, answer: Awaitable[Answer]) -> None:
        try:
            job.outcome = await answer
        except ServiceError as error:
            job.outcome = error
        except Exception as error:
            job.outcome = ServiceError(f"{type(error).__name__}: {error}")
        finally:
            job.finished_at = self._clock()

    def _expire(self) -> None:
        oldest = self._clock() - self.ttl_s
        for job in list(self._jobs.values()):
            if job.finished_at is not None and job.finished_at < oldest:
                del self._jobs[job.id]
