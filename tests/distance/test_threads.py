"""Work spread over threads: every job once, and an error reaches the caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from mlsys.distance.threads import pool, spread, torch_threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("here", [False, True])
def test_every_job_is_done_once(here: bool) -> None:
    for count in (0, 1, 2, 3, 200):
        done: list[int] = []
        spread(done.append, range(count), here=here)
        assert sorted(done) == list(range(count))


def test_few_jobs_stay_in_the_calling_thread() -> None:
    threads: set[int] = set()
    spread(lambda _: threads.add(threading.get_ident()), range(5), alone=5)
    assert threads == {threading.get_ident()}


def test_the_calling_thread_works_only_where_it_may() -> None:
    threads: set[int] = set()
    spread(lambda _: threads.add(threading.get_ident()), range(50))
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("here", [False, True])
def test_an_error_reaches_the_caller(here: bool) -> None:
    def work(job: int) -> None:
        if job == 30:
            raise ValueError("job 30")

    with pytest.raises(ValueError, match="job 30"):
        spread(work, range(50), here=here)


def test_a_limit_holds_in_one_thread_and_new_threads_begin_with_the_process_number() -> None:
    seen: list[int] = []
    with torch_threads(1):
        seen.append(torch.get_num_threads())
        beside = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        beside.start()
        beside.join()
    assert [*seen, torch.get_num_threads()] == [1, 2, 2]


def test_the_pools_threads_split_nothing_and_making_one_changes_no_number() -> None:
    made = pool("mlsys-test", 3)
    assert [future.result() for future in [made.submit(torch.get_num_threads) for _ in range(9)]] == [1] * 9
    seen: list[int] = []
    beside = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    beside.start()
    beside.join()
    assert [*seen, torch.get_num_threads()] == [2, 2]
