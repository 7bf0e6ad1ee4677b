"""Sharded vectors over gloo ranks: every rank gets the bits that every other gets, for 2 and 3 ranks."""

from __future__ import annotations

from itertools import pairwise

import gloo
import pytest
import torch

from mlsys.distance import distance
from mlsys.distance.data.random import Random
from mlsys.distance.distributed import bounds, rank_plan
from mlsys.distance.source import Shard
from mlsys.errors import UserError

pytestmark = pytest.mark.slow

N = 300_001
PROGRAM = """
import os, sys, warnings
import torch
import torch.distributed as dist
from mlsys.distance.data.random import Random
from mlsys.distance.distributed import bounds, rank_plan
from mlsys.distance.source import Shard

torch.set_num_threads(1)
rank, ranks, *sizes = map(int, sys.argv[1:])
dist.init_process_group("gloo", rank=rank, world_size=ranks)
for n in sizes:
    x, y = (Shard(source, *bounds(n, rank, ranks)).tensor() for source in Random().open(n, torch.float32, 0))
    for metric in ("l2", "l1", "cosine", "dot"):
        call = rank_plan(x, y, metric)
        assert float(call()) == float(call())
        print(n, metric, float(call()).hex(), call.reduction)
    print(n, "large", float(rank_plan(x.double() * 1e200, y.double() * 1e200, "l2")()).hex(), call.reduction)
dist.destroy_process_group()
"""


@pytest.mark.parametrize(("ranks", "sizes"), [(2, [N]), (3, [N, 2])], ids=str)
def test_every_rank_gets_the_distance_of_the_whole(ranks: int, sizes: list[int]) -> None:
    outputs = gloo.run(PROGRAM, ranks, *sizes)
    assert len(set(outputs)) == 1
    lines = outputs[0].splitlines()
    assert len(lines) == 5 * len(sizes)
    for line in lines:
        n, metric, value, reduction = line.split()
        x, y = (source.tensor() for source in Random().open(int(n), torch.float32, 0))
        if metric == "large":
            wanted, rel = float(distance(x.double(), y.double(), "l2")) * 1e200, 1e-12
        else:
            wanted, rel = float(distance(x, y, metric)), 3e-7
        assert float.fromhex(value) == pytest.approx(wanted, rel=rel)
        assert reduction == "blocked"


def test_shards_cover_the_vector() -> None:
    for n in (0, 1, 7, 1000):
        for ranks in (1, 2, 3, 8):
            edges = [bounds(n, rank, ranks) for rank in range(ranks)]
            assert edges[0][0] == 0
            assert edges[-1][1] == n
            assert all(a[1] == b[0] for a, b in pairwise(edges))
            assert (
                max(stop - start for start, stop in edges) - min(stop - start for start, stop in edges) <= 1
            )


def test_a_shard_is_a_source() -> None:
    whole, _ = Random().open(1_000, torch.float32, 0)
    shard = Shard(whole, 200, 500)
    assert (shard.n, shard.dtype, shard.nan_count()) == (300, torch.float32, 0)
    assert torch.equal(shard.tensor(), whole.tensor()[200:500])
    assert shard.description == "elements 200 to 500 of standard normal, seed 0"
    assert torch.equal(shard.part(10, 20).tensor(), whole.tensor()[210:220])


def test_without_a_group() -> None:
    with pytest.raises(UserError, match="a sharded distance needs a process group: start with torchrun"):
        rank_plan(torch.ones(3), torch.ones(3))
