"""Exchanges and failures among real ranks, and what is made of a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torchrun

from mlsys.errors import UserError
from mlsys.ranks.torchrun import Failure, error_of

PROGRAM = """
import sys, time
import torch
from mlsys import ranks
from mlsys.ranks import torchrun
from mlsys.distance.distributed import RankPlan, agreed
from mlsys.distance import metrics, plan
from mlsys.errors import UserError
torchrun.DATA_S = 2.0

def disk(rank):
    if rank == 1:
        raise OSError("the disk is gone")

def in_the_call(rank):
    part = plan(torch.ones(3), torch.zeros(3))
    if rank == 1:
        part.running.add = lambda *arguments: disk(1)
    RankPlan(part, metrics.get("l2"), group.data)()

def alike(rank):
    raise UserError("size=0 must be at least 1")

def disagree(rank):
    agreed(float(rank), group)

def hang(rank):
    if rank == 1:
        time.sleep(4)
    group.barrier()

def well(rank):
    assert group.exchange(rank) == [0, 1]
    assert group.slowest([1.0 + rank, 5.0 - rank]) == [2.0, 5.0]
    assert group.total([1.0, rank]) == [2.0, 1.0]
    group.barrier()

def outcome(job, scope):
    try:
        with scope:
            job(group.rank)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "ok"

jobs = [disk, in_the_call, alike, disagree, hang, well]
with ranks.together() as group:
    if group.rank == 0:
        said = [outcome(job, group.job({"job": i})) for i, job in enumerate(jobs)]
    else:
        said = [outcome(jobs[config["job"]], group.part()) for config in group.configurations()]
open(f"{sys.argv[1]}/{group.rank}", "w").write("\\n".join(said))
"""


@pytest.mark.slow
def test_a_failure_on_one_rank_is_one_on_all_and_the_next_job_is_well(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = torchrun.run(2, str(tmp_path / "program.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / str(rank)).read_text().splitlines() for rank in (0, 1))
    gone, called, alike, disagree, hung, well = first
    assert gone == called == "RankError: rank 1: the disk is gone"
    assert alike == "UserError: size=0 must be at least 1"
    assert disagree.startswith("RankError: the ranks disagree: 0x0.0p+0, 0x1.0")
    assert hung.startswith("LostRank: a rank has gone or hangs: ")
    assert well == "ok"
    assert second[:2] == ["OSError: the disk is gone"] * 2
    assert second[2] == alike
    assert second[5] == "ok"


def failure(text: str, follows: bool = False) -> Failure:
    return Failure(text, "Traceback", by_user=not follows, follows=follows, broken=False)


def test_the_failure_that_led_to_the_others_is_told() -> None:
    failures = {0: failure("rank 2 failed", follows=True), 2: failure("data.x=a is not there")}
    told = error_of(failures, 0, 3, RuntimeError("rank 2 failed"))
    assert isinstance(told, UserError)
    assert str(told) == "rank 2: data.x=a is not there"
    assert told.__notes__ == ["Traceback"]
    own = UserError("data.x=a is not there")
    assert error_of(failures, 2, 3, own) is own
