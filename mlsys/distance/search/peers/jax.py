"""JAX as a peer: the product and `lax.top_k`, compiled together by XLA for these shapes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from mlsys import extras
from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers.problem import Peer, Problem
from mlsys.quantities import cores

# With its own 75 % of the memory, JAX would leave none to the searches that it is measured beside.
PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def jax(problem: Problem) -> Peer:
    """`jax.lax.top_k` of the product summed in float32, jitted. Rows of float32 are multiplied in full, not as tf32.

    On a GPU XLA sorts scores of two bytes whole, but selects among those of float32. The rows are torch's, shared by
    DLPack. The result stays on the device and is waited for.
    """
    if problem.form == "l1":
        raise Unavailable("jax: l1 is no matrix product")
    if lacking := extras.absent("jax"):
        raise Unavailable(lacking)
    if not problem.on_gpu and torch.get_num_threads() != cores():
        raise Unavailable(
            f"jax: it takes all {cores()} cores of a CPU, not {torch.get_num_threads()} threads"
        )
    os.environ.setdefault(PREALLOCATE, "false")
    import jax as library

    if problem.on_gpu:
        _check_gpu(library)
    bias = problem.squares / -2 if problem.bias is not None else None
    given = (problem.queries, problem.scored, bias)
    x, y, bias = (None if each is None else library.dlpack.from_dlpack(each) for each in given)

    def nearest(x: Any, y: Any, bias: Any) -> Any:
        product = library.numpy.matmul(x, y.T, precision="highest", preferred_element_type="float32")
        return library.lax.top_k(product if bias is None else product + bias, problem.k)

    compiled = library.jit(nearest)
    name = "unit_y" if problem.form == "cosine" else "y"
    text = f"jax.lax.top_k(x @ {name}.T{'' if bias is None else ' - |y|²/2'}, k)"
    return Peer(
        lambda: library.block_until_ready(compiled(x, y, bias)),
        text,
        lambda pair: np.asarray(pair[1]),
        own_stream=problem.on_gpu,
    )


def _check_gpu(library: Any) -> None:
    try:
        library.devices("gpu")
    except RuntimeError:
        raise Unavailable("jax: the jaxlib installed sees no GPU: pip install 'jax[cuda13]'") from None
