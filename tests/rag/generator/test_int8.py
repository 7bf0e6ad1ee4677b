"""8-bit weights: how far from float32, and that a row's answer is its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sections import made

from mlsys.errors import UserError
from mlsys.rag.generator import Wanted, int8
from mlsys.rag.generator.random import Random


def layers(bias: bool) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(96, 160, bias=bias), torch.nn.Linear(160, 32, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_within_a_hundredth_of_float32s(bias: bool) -> None:
    model, x = layers(bias), torch.randn(3, 7, 96)
    with torch.inference_mode():
        wanted = model(x)
        int8.quantise(model)
        found = model(x)
    assert found.shape == wanted.shape
    assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.03
    assert sum(weights.numel() for weights in model.parameters()) == (192 if bias else 0)


@pytest.mark.parametrize("levels", [int8._levels(), int8.HALF])
@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(1e-6, 1e6))
def test_sums_are_those_of_whole_numbers(levels: int, seed: int, rows: int, size: float) -> None:
    made_by = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(24, 33, generator=made_by), size * torch.randn(rows, 33, generator=made_by)
    with torch.inference_mode():
        found = int8._product(weight, None, levels)(x)
    scales, steps = weight.abs().amax(1) / 127, x.abs().amax(1, keepdim=True) / levels
    whole = torch.round(weight / scales[:, None]).double()
    wanted = torch.round(x / steps).double() @ whole.T * scales.double() * steps.double()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    model, x = layers(bias=True), torch.randn(65, 96)
    x[3] *= 1e4
    x[4] = 0
    int8.quantise(model)
    with torch.inference_mode():
        whole = model(x)
        assert all(torch.equal(whole[row], model(x[row : row + 1])[0]) for row in (0, 3, 4, 64))


def test_answers_of_a_batch_are_those_of_each_alone() -> None:
    generator: Random = made("generator/random", shape="tiny", dtype="int8", max_new_tokens=8)
    generator.load("cpu", 0)
    prompts = generator.prompts(["a b c", "words " * 30, "x"])
    together = [one.ids for one in generator.generate(prompts)]
    assert together == [generator.generate([prompt])[0].ids for prompt in prompts]
    wanted = [Wanted(max_tokens=3)] * 3
    assert [one.ids for one in generator.generate(prompts, wanted)] == [ids[:3] for ids in together]
    described = generator.describe()
    assert (described["dtype"], described["packed_weights"]) == ("int8", False)
    float32: Random = made("generator/random", shape="tiny", max_new_tokens=8)
    float32.load("cpu", 0)
    assert described["parameters"] == float32.describe()["parameters"]


def test_on_a_gpu_or_without_the_kernels_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"generator\.dtype=int8 is for device=cpu"):
        made("generator/random", shape="tiny", dtype="int8").load("cuda", 0)

    def missing(*_: object) -> None:
        raise AttributeError("no such operator")

    monkeypatch.setattr(int8, "_product", missing)
    with pytest.raises(UserError, match=r"generator\.dtype=int8: this torch has no such products"):
        int8.quantise(layers(bias=True))


def test_a_processor_whose_sums_saturate_gets_fewer_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturates(weight: torch.Tensor, bias: object, levels: int) -> int8.Product:
        return lambda x: torch.full((len(x), len(weight)), 12.0)

    monkeypatch.setattr(int8, "_product", saturates)
    assert int8._levels() == int8.HALF
