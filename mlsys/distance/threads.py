"""Pools of threads that call NumPy and torch, each call staying in its thread.

torch would split every call over threads of its own. `torch.set_num_threads` would stop that, but it is the process'
setting, which other threads begin with; the OpenMP runtime below it has one for each thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mlsys.quantities import cores

ENOUGH_TO_WAIT = 8  # threads that wait for a disk need no core each
_making = threading.Lock()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """In this thread torch splits its calls over `count` threads; in all others nothing changes."""
    torch.get_num_threads()  # the first call in a thread takes over the process' number
    before = [runtime.get_num_threads() for runtime in _openmp()]
    _limit(count)
    try:
        yield
    finally:
        for runtime, threads in zip(_openmp(), before, strict=True):
            runtime.set_num_threads(threads)


def _limit(count: int) -> None:
    torch.get_num_threads()  # or a later call would take over the process' number and undo the limit
    for runtime in _openmp():
        runtime.set_num_threads(count)


@lru_cache(maxsize=1)
def _openmp() -> list[Any]:
    """The OpenMP runtimes of torch and of what was loaded with it."""
    return list(ThreadpoolController().select(user_api="openmp").lib_controllers)


def pool(name: str, workers: int) -> ThreadPoolExecutor:
    """The pool of that name and size, made on first use. A task must not wait for tasks of the same pool.

    It is no larger than this machine has use for, however many threads torch was told to take (OMP_NUM_THREADS).
    """
    with _making:
        return _pool(name, min(workers, max(cores() + 1, ENOUGH_TO_WAIT)))


@lru_cache(maxsize=8)
def _pool(name: str, workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=_limit, initargs=(1,))


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
