"""Streaming on a CPU: memory stays within the budget, whatever the file's size; bits stay those in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlsys.distance import plan, stream
from mlsys.distance.data.file import File
from mlsys.distance.data.random import Random
from mlsys.distance.reductions.blocked import BLOCK, COMPILED_FROM
from mlsys.distance.source import Shard, TensorSource
from mlsys.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
LEAST = 2 * 2 * 4 * BLOCK  # two slots of two float32 vectors

PROGRAM = """
import json, resource, sys
import torch
from mlsys.distance import stream
from mlsys.distance.data.file import File
torch.set_num_threads(2)
sources = File(x=sys.argv[1], y=sys.argv[2]).open(0, torch.float32, 0)
warm = [source for source in File(x=sys.argv[3], y=sys.argv[3]).open(0, torch.float32, 0)]
stream(*warm, "l2", "auto", "cpu", int(sys.argv[4]))()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
value = float(stream(*sources, "l2", "auto", "cpu", int(sys.argv[4]))())
print(json.dumps([value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_a_file_many_times_the_budget_takes_no_more_than_the_budget(tmp_path: Path, suffix: str) -> None:
    budget, n = 8 << 20, 24_000_000  # two files of 96 MB
    paths = [tmp_path / f"{name}.{suffix}" for name in ("x", "y", "warm")]
    vectors = [np.random.default_rng(i).random(n, np.float32) for i in range(2)]
    vectors.append(np.ones(COMPILED_FROM, np.float32))  # so long that warming up compiles
    for path, vector in zip(paths, vectors, strict=True):
        if suffix == "npy":
            np.save(path, vector)
        else:
            torch.save(torch.from_numpy(vector), path)
    line = [sys.executable, "-c", PROGRAM, *map(str, paths), str(budget)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value, grown = json.loads(done.stdout)
    assert value == float(plan(torch.from_numpy(vectors[0]), torch.from_numpy(vectors[1]), "l2")())
    assert grown <= 2 * budget  # the buffers, and what the threads' own blocks take


def test_any_budget_gives_the_same_bits() -> None:
    x, y = (torch.randn(7 * BLOCK + 13, generator=torch.Generator().manual_seed(i)) for i in range(2))
    whole = plan(x, y, "cosine")()
    for budget in (LEAST, 3 * LEAST, 1 << 30):
        call = stream(TensorSource(x), TensorSource(y), "cosine", memory_budget=budget)
        assert call.chunk_n % BLOCK == 0
        assert 2 * 2 * 4 * call.chunk_n <= budget
        assert [torch.equal(call(), whole) for _ in range(2)] == [True, True]
    assert (call.reduction, call.device_bytes, call.pinned_bytes) == ("blocked", 0, 0)


def test_only_vectors_in_memory_are_copied_into_a_gpus_slots_by_the_calling_thread(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(10, np.float32))
    memory = TensorSource(torch.ones(10))
    drawn, _ = Random().open(10, torch.float32, 0)
    path = str(tmp_path / "x.npy")
    file, _ = File(x=path, y=path).open(0, torch.float32, 0)
    for x, y, relayed in (
        (memory, drawn, True),
        (drawn.part(2, 8), memory.part(2, 8), True),
        (memory, file, False),
    ):
        call = stream(x, y, "l2")
        assert not call.relayed
        assert replace(call, device=torch.device("cuda")).relayed == relayed
    assert Shard(memory, 2, 8).in_memory
    assert not file.part(2, 8).in_memory


def test_a_stream_that_began_in_inference_mode_goes_on_outside() -> None:
    x = TensorSource(torch.arange(5.0))
    call = stream(x, x, "dot")
    with torch.inference_mode():
        first = float(call())
    assert float(call()) == first == 30


def test_an_empty_vector_streams() -> None:
    empty = TensorSource(torch.empty(0))
    assert float(stream(empty, empty, "l2")()) == 0.0


def test_an_error_while_reading_reaches_the_caller() -> None:
    class Broken(TensorSource):
        def read(self, start: int, stop: int, out: torch.Tensor) -> None:
            raise UserError("the disk is gone")

    x = torch.ones(10)
    with pytest.raises(UserError, match="the disk is gone"):
        stream(TensorSource(x), Broken(x), "l2")()


def test_bad_budgets_and_sources() -> None:
    x = TensorSource(torch.ones(10))
    with pytest.raises(
        UserError, match=rf"memory_budget=1000 bytes is too small: the least pieces take {LEAST}"
    ):
        stream(x, x, "l2", memory_budget=1000)
    with pytest.raises(UserError, match="x has 10 elements and y has 9"):
        stream(x, TensorSource(torch.ones(9)), "l2")
    with pytest.raises(UserError, match="x is float32 and y is float64"):
        stream(x, TensorSource(torch.ones(10).double()), "l2")
