"""Rows over gloo ranks: to the bit what one process finds in all of them, uneven and empty stretches included."""

from __future__ import annotations

import gloo
import numpy as np
import pytest
import torch

from mlsys.distance.search import Index
from mlsys.distance.search.random_rows import BLOCK_ROWS, QUERIES, ROWS, drawn
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.sharded import ShardedIndex
from mlsys.distance.search.spread import reference_rows
from mlsys.errors import UserError
from mlsys.ranks import Group

EDGES = {1: (0, 900), 2: (0, 350, 900), 3: (0, 893, 893, 900)}  # the second of three ranks has no row
DATA = """
import hashlib
import torch

def data(dtype):
    generator = torch.Generator().manual_seed(4)
    few = torch.randn(300, 24, generator=generator)
    rows = few[torch.randint(0, 300, (900,), generator=generator)]  # full of ties, across ranks as well
    rows[5] = rows[895] = 0
    return torch.randn(7, 24, generator=generator).to(dtype), rows.to(dtype)

def digest(distances, numbers):
    return hashlib.sha256(distances.double().numpy().tobytes() + numbers.numpy().tobytes()).hexdigest()
"""
PROGRAM = (
    DATA
    + """
import sys
import torch.distributed as dist
from mlsys.distance.search import Index
from mlsys.distance.search.sharded import ShardedIndex
from mlsys.distance.search.streamed import StreamedIndex

torch.set_num_threads(1)
rank, ranks, *edges = map(int, sys.argv[1:])
dist.init_process_group("gloo", rank=rank, world_size=ranks)

def said(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def streamed(rows, metric):
    return StreamedIndex(rows, metric, "cpu", 1000 * (2 * 24 * 4 + 24))

for dtype in (torch.float32, torch.float16, torch.float64):
    queries, rows = data(dtype)
    own = rows[edges[rank] : edges[rank + 1]]
    for metric in sorted(METRICS):
        index = ShardedIndex(own, metric)
        assert index.shape == (900, 24) and index.before == edges[rank]
        assert index.method == ("blocks" if len(own) else "none")
        for k in (1, 60, 900):
            print(digest(*index.search(queries, k)))
queries, rows = data(torch.float32)
own = rows[edges[rank] : edges[rank + 1]]
print(digest(*ShardedIndex(own, "l2", index=streamed).search(queries, 60)))
given = own.numpy() if len(own) else own
found = ShardedIndex(given).search(queries.numpy() if len(own) else queries, 60)
print(digest(*map(torch.as_tensor, found)))
print(tuple(ShardedIndex(own).search(queries[:0], 3)[1].shape))

def broken():
    index = ShardedIndex(own)
    if rank == 0:
        index.part.keys = lambda *arguments: 1 / 0
    index.search(queries, 3)

bad = own.clone()
bad[:1] = torch.nan if rank == 0 else 1.0
print(said(lambda: ShardedIndex(own).search(queries, 901)))
print(said(lambda: ShardedIndex(own[:, : 24 - rank])))
print(said(lambda: ShardedIndex(own.double() if rank else own)))
print(said(lambda: ShardedIndex(own[:0])))
print("FAILS")
print(said(broken))
print(said(lambda: ShardedIndex(bad)))
print(digest(*ShardedIndex(own).search(queries, 3)))
dist.destroy_process_group()
"""
).replace("METRICS", repr(sorted(RANKINGS)))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_gets_the_bits_of_one_process_and_a_failed_rank_fails_one_search(ranks: int) -> None:
    outputs = [out.splitlines() for out in gloo.run(PROGRAM, ranks, *EDGES[ranks])]
    made: dict[str, object] = {}
    exec(DATA, made)
    data, digest = made["data"], made["digest"]
    assert callable(data)
    assert callable(digest)
    wanted = [
        digest(*Index(rows, metric).search(queries, k))
        for queries, rows in map(data, (torch.float32, torch.float16, torch.float64))
        for metric in sorted(RANKINGS)
        for k in (1, 60, 900)
    ]
    queries, rows = data(torch.float32)
    wanted += [digest(*Index(rows).search(queries, 60))] * 2
    wanted += [
        "(0, 3)",
        "UserError: k=901 must be from 1 to the number of rows, 900",
        f"UserError: rows of the ranks have different dims: {', '.join(str(24 - rank) for rank in range(ranks))}",
        f"UserError: rows of the ranks have different dtypes: {', '.join(['float32', *['float64'] * (ranks - 1)])}",
        "UserError: no rank has a row to be searched",
        "FAILS",
    ]
    last = digest(*Index(rows).search(queries, 3))
    for rank, lines in enumerate(outputs):
        assert lines[: len(wanted)] == wanted
        called, made_of = (
            ("ZeroDivisionError: division by zero", "UserError: rows cannot be searched: row 0 holds nan")
            if rank == 0
            else ("RankError: rank 0 failed", "RankError: rank 0 failed")
        )
        assert lines[len(wanted)] == called
        assert lines[len(wanted) + 1].startswith(made_of)
        assert lines[len(wanted) + 2] == last


def test_rows_are_the_same_whatever_part_is_drawn() -> None:
    cpu = torch.device("cpu")
    whole = drawn(ROWS, 0, BLOCK_ROWS + 500, 3, torch.float16, cpu, seed=5)
    for start, stop in (
        (0, 10),
        (100, 100),
        (BLOCK_ROWS - 7, BLOCK_ROWS + 9),
        (BLOCK_ROWS, BLOCK_ROWS + 500),
    ):
        assert torch.equal(drawn(ROWS, start, stop, 3, torch.float16, cpu, seed=5), whole[start:stop])
    assert not torch.equal(drawn(QUERIES, 0, 10, 3, torch.float16, cpu, seed=5), whole[:10])
    assert not torch.equal(drawn(ROWS, 0, 10, 3, torch.float16, cpu, seed=6), whole[:10])


class Recorded(Group):
    """The last of three ranks, which has heard what the others say."""

    rank, size = 2, 3

    def __init__(self, others: list[object]) -> None:
        self.others = others

    def exchange(self, value: object) -> list[object]:
        """What the others said, then this rank's."""
        return [*self.others, value]


@pytest.mark.parametrize("metric", ["l2", "dot", "cosine"])
def test_the_float64_search_of_every_rank_comes_to_that_of_all_rows(metric: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(30, 4, generator=generator)[torch.randint(0, 30, (90,), generator=generator)]
    rows[::9] = 0
    queries = torch.randn(3, 4, generator=generator)
    said: list[object] = []
    for start, stop in ((0, 20), (20, 20)):
        group = Recorded([])
        group.exchange = lambda value: said.append(value) or [value]  # type: ignore[method-assign, func-returns-value]
        reference_rows(queries, rows[start:stop], 85, metric, start, group)
    merged = reference_rows(queries, rows[20:], 85, metric, 20, Recorded(said))
    np.testing.assert_array_equal(merged, reference_rows(queries, rows, 85, metric, 0, Group()))


def test_without_a_group() -> None:
    with pytest.raises(UserError, match="a sharded index needs a process group: start with torchrun"):
        ShardedIndex(torch.ones(3, 2))
