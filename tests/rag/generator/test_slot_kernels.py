"""The kernels over slots, against the definition in float64."""

import pytest
import torch

from mlsys.rag.generator import slot_kernels
from mlsys.rag.generator.slot_kernels import TILE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SLOTS, TOKENS = 4, 150


def expected(q: torch.Tensor, kept: torch.Tensor, slot: int, position: int) -> torch.Tensor:
    """One token's attention (H, d)."""
    keys, values = kept[:, slot, :, : position + 1].double()
    folded = q.double().reshape(keys.shape[0], -1, q.shape[-1])
    weights = (folded @ keys.transpose(1, 2) / 4).softmax(-1)
    found: torch.Tensor = (weights @ values).reshape(q.shape)
    return found


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-5),
        (torch.float16, 2e-3),
        pytest.param(torch.bfloat16, 2e-2, marks=pytest.mark.gpu),  # Triton's interpreter cannot multiply it
    ],
)
@pytest.mark.parametrize(("heads", "groups", "dim"), [(2, 3, 64), (1, 1, 16), (2, 2, 24)])
def test_each_token_attends_to_what_its_slot_holds(
    heads: int, groups: int, dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    random = torch.Generator().manual_seed(2)
    kept = torch.randn((2, SLOTS, heads, TOKENS, dim), generator=random).to(DEVICE, dtype)
    pieces = [
        (2, 0, 5, 0),
        (0, 131, TILE, 5),
        (SLOTS, 0, 0, 0),
        (3, 63, 2, 5 + TILE),
    ]  # slot, first, count, row
    tokens = 5 + TILE + 2
    q = torch.randn((1, tokens, heads * groups, dim), generator=random).to(DEVICE, dtype).transpose(1, 2)
    out = torch.full((1, tokens, heads * groups, dim), float("nan"), dtype=dtype, device=DEVICE)
    slots, firsts, counts, rows = (torch.tensor(each, device=DEVICE) for each in zip(*pieces, strict=True))
    slot_kernels.attend(q, kept, out, (slots, firsts, counts, rows), TILE, 0.25)
    for slot, first, count, row in pieces:
        for at in range(count):
            wanted = expected(q[0, :, row + at], kept, slot, first + at)
            torch.testing.assert_close(out[0, row + at].double(), wanted, atol=tolerance, rtol=tolerance)


def test_what_is_stored_goes_to_its_slot_and_nowhere_else() -> None:
    kept = torch.zeros((2, SLOTS, 2, 10, 24), device=DEVICE)
    k, v = torch.randn(2, 1, 3, 2, 24, device=DEVICE).transpose(2, 3)
    slots, positions = torch.tensor([3, SLOTS, 0], device=DEVICE), torch.tensor([7, 0, 9], device=DEVICE)
    slot_kernels.store(k, v, kept, slots, positions)
    for row, slot, position in ((0, 3, 7), (2, 0, 9)):
        torch.testing.assert_close(kept[0, slot, :, position], k[0, :, row])
        torch.testing.assert_close(kept[1, slot, :, position], v[0, :, row])
        kept[:, slot, :, position] = 0
    assert not kept.any()
