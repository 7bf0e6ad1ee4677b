"""Peers that search on a GPU, where their libraries are installed: they find what a float64 search finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlsys.distance.baseline import Unavailable
from mlsys.distance.search.peers import PEERS, Problem
from mlsys.distance.search.reference import recall, reference

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("form", ["l2", "sqeuclidean", "cosine", "dot", "l1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["flashlib", "jax", "cuvs", "faiss"])
def test_it_finds_the_nearest_rows(name: str, dtype: torch.dtype, form: str) -> None:
    made = torch.Generator("cuda").manual_seed(4)
    x, y = (torch.randn(n, 64, generator=made, device="cuda").to(dtype) for n in (8, 5000))
    try:
        peer = PEERS[name](Problem(x, y, 10, form))
        assert peer.found is not None
        found = [np.array(peer.found(peer.call())) for _ in range(2)]
    except (Unavailable, ImportError) as error:
        pytest.skip(str(error))
    _, wanted = reference(x, y, 10, form)
    assert np.array_equal(found[0], found[1])
    assert recall(found[0], wanted) > (0.98 if dtype == torch.float32 else 0.8)
