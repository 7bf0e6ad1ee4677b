"""Packed products against the plain ones."""

import pytest
import torch

from mlsys.rag.generator import linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 63, 64, 200])
def test_packing_changes_no_product(
    dtype: torch.dtype, bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(linear, "has_matrix_unit", lambda: False)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(48, 80, bias=bias), torch.nn.Linear(80, 32, bias=bias)).to(
        dtype
    )
    x = torch.randn(1, rows, 48, dtype=dtype)
    with torch.inference_mode():
        expected = model(x)
        assert linear.pack(model)
        found = model(x)
    assert found.dtype == dtype
    assert found.shape == (1, rows, 32)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_where_torch_has_no_such_kernels_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))

    def missing(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(linear, "_packed", missing)
    assert not linear.pack(model)
    assert "forward" not in vars(model[0])
    assert not linear.pack(torch.nn.Sequential(torch.nn.ReLU()))
    assert not linear.pack(torch.nn.Sequential(torch.nn.Linear(4, 4).half()))
