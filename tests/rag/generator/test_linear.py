"""Packed products against the plain ones."""

import pytest
import torch

from mlsys.rag.generator import linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 63, 64, 200])
def test_packing_changes_no_product(
    dtype: torch.dtype, native: bool, bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor whose oneDNN has no bfloat16 kernels nothing is packed, and nothing changes either."""
    monkeypatch.setattr(linear, "multiplies", lambda _: native)
    packable = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(48, 80, bias=bias), torch.nn.Linear(80, 32, bias=bias)).to(
        dtype
    )
    x = torch.randn(1, rows, 48, dtype=dtype)
    with torch.inference_mode():
        expected = model(x)
        assert linear.pack(model) == packable
        found = model(x)
    assert found.dtype == dtype
    assert found.shape == (1, rows, 32)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_where_torch_has_no_such_kernels_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))

    def missing(*_: object) -> None:
        raise AttributeError("no such operator")

    monkeypatch.setattr(linear, "_packed", missing)
    assert not linear.pack(model)
    assert "forward" not in vars(model[0])
    assert not linear.pack(torch.nn.Sequential(torch.nn.ReLU()))
    assert not linear.pack(torch.nn.Sequential(torch.nn.Linear(4, 4).half()))


@pytest.mark.parametrize(
    ("machine", "answers", "native"),
    [
        ("x86_64", {"cpu._is_amx_tile_supported": False, "cpu._is_avx512_bf16_supported": False}, False),
        ("x86_64", {"cpu._is_amx_tile_supported": False, "cpu._is_avx512_bf16_supported": True}, True),
        ("x86_64", {"cpu._is_amx_tile_supported": True}, True),
        ("aarch64", {"ops.mkldnn._is_mkldnn_bf16_supported": True}, True),
        (
            "aarch64",
            {"ops.mkldnn._is_mkldnn_bf16_supported": False, "cpu._is_amx_tile_supported": True},
            False,
        ),
    ],
)
def test_which_processors_multiply_bfloat16(
    machine: str, answers: dict[str, bool], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(linear, "_has", lambda question: answers.get(question, False))
    assert linear.multiplies(torch.bfloat16) == native
    assert linear.multiplies(torch.float32)
    assert not linear.multiplies(torch.float16)


def test_a_torch_that_cannot_be_asked_has_no_instructions() -> None:
    assert not linear._has("cpu._is_quantum_supported")
    assert linear._has("backends.mkldnn.is_available") == torch.backends.mkldnn.is_available()
