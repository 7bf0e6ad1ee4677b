"""JAX as a peer: its answer on a CPU where it is installed, and why it is left out."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from on_gpu import OnGpu, library, problem

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers import Problem, jax
from mlsys.distance.search.reference import recall, reference


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "cores", torch.get_num_threads)
    monkeypatch.setenv(jax.PREALLOCATE, "false")


@pytest.mark.parametrize("form", ["l2", "sqeuclidean", "cosine", "dot"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_finds_the_nearest_rows_in_each_storage(form: str, dtype: torch.dtype) -> None:
    pytest.importorskip("jax", reason="jax is not installed: the extra jax brings it")
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(4, 24, generator=generator), torch.randn(700, 24, generator=generator)
    asked = Problem(x.to(dtype), y.to(dtype), 5, form)
    peer = jax.jax(asked)
    assert peer.found is not None
    assert not peer.own_stream
    found = peer.found(peer.call())
    _, wanted = reference(asked.queries, asked.rows, 5, form)
    if dtype == torch.float32:
        assert np.array_equal(found, wanted)
    assert recall(found, wanted) > 0.8


@pytest.mark.parametrize(
    ("kind", "form", "said"),
    [(OnGpu, "l1", "jax: l1 is no matrix product"), (OnGpu, "l2", "jax is not installed: ")],
)
def test_it_is_left_out_with_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[Problem], form: str, said: str
) -> None:
    monkeypatch.setattr(extras, "absent", lambda module: f"{module} is not installed: …")
    with pytest.raises(Unavailable, match=said):
        jax.jax(problem(kind, form))


def test_fewer_threads_than_cores_are_not_what_it_computes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "absent", lambda module: None)
    monkeypatch.setattr(jax, "cores", lambda: torch.get_num_threads() + 1)
    with pytest.raises(Unavailable, match=r"jax: it takes all \d+ cores of a CPU, not \d+ threads"):
        jax.jax(problem(Problem, "l2"))


def test_a_jaxlib_of_cpus_is_told_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(kind: str) -> Any:
        raise RuntimeError(f"Unknown backend: '{kind}' requested, but no platforms that are instances of gpu")

    library(monkeypatch, "jax", devices=devices)
    with pytest.raises(
        Unavailable, match=r"jax: the jaxlib installed sees no GPU: pip install 'jax\[cuda13\]'"
    ):
        jax.jax(problem(OnGpu, "dot"))


def test_on_a_gpu_it_leaves_memory_to_others_and_is_timed_as_a_caller_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(jax.PREALLOCATE)
    library(
        monkeypatch, "jax", devices=lambda kind: [kind], jit=lambda function: function, block_until_ready=lambda x: x,
        dlpack=SimpleNamespace(from_dlpack=lambda tensor: tensor),
        numpy=SimpleNamespace(matmul=lambda x, y, precision, preferred_element_type: x @ y),
        lax=SimpleNamespace(top_k=lambda scores, k: tuple(torch.topk(scores, k))),
    )  # fmt: skip
    peer = jax.jax(problem(OnGpu, "l2"))
    assert peer.own_stream
    assert peer.found is not None
    assert peer.found(peer.call()).tolist() == [[2, 0]]
    assert os.environ[jax.PREALLOCATE] == "false"
