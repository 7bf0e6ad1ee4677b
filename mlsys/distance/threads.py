"""Pools of threads that call NumPy and torch, each call staying in its thread.

torch would split every call over threads of its own. `torch.set_num_threads` in a worker stops that for the
worker, but also changes what threads made later begin with, so a pool puts that back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch

_making = threading.Lock()


def pool(name: str, workers: int) -> ThreadPoolExecutor:
    """The pool of that name and size, made on first use. A task must not wait for tasks of the same pool."""
    with _making:
        return _pool(name, workers)


@lru_cache(maxsize=8)
def _pool(name: str, workers: int) -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    ready = threading.Barrier(workers)

    def begin(_: int) -> None:
        torch.set_num_threads(1)
        ready.wait()

    executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
    list(executor.map(begin, range(workers)))
    torch.set_num_threads(before)
    return executor


def spread(work: Callable[[int], None], jobs: Iterable[int], alone: int = 1, here: bool = False) -> None:
    """Call `work` for every job on as many threads as torch has, in no fixed order, and return when all are
    done.

    The calling thread does up to `alone` jobs by itself. With `here` it also works on more of them, while other threads
    still wake up; not for jobs in which torch works, because torch would split its calls in the calling thread.

    Floating-point warnings of NumPy are off in `work`: infinities and nans are results here.
    """
    jobs = list(jobs)
    threads = torch.get_num_threads()
    workers = threads + 1 if threads > 1 else 1  # while one waits for the interpreter, another computes
    waiting = iter(jobs)

    def drain() -> None:
        with np.errstate(all="ignore"):
            for job in waiting:
                work(job)

    if workers == 1 or len(jobs) <= alone:
        drain()
        return
    helpers = [pool("mlsys-blocks", workers).submit(drain) for _ in range(min(workers, len(jobs)) - here)]
    if here:
        drain()
    for helper in helpers:
        if not (here and helper.cancel()):  # one that has not begun finds nothing left
            helper.result()
