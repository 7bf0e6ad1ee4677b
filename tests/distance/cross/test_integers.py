"""Squared distances by way of whole numbers: nothing is lost unsaid, and what is in doubt comes from the elements."""

from __future__ import annotations

import pytest
import torch

from mlsys.distance.cross import integers
from mlsys.distance.metrics import get

ROUNDING = 9e-8  # half a unit of float32's last place is 6e-8; Triton's interpreter rounds twice in an fma


def normal(count: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def errors(x: torch.Tensor, y: torch.Tensor, metric: str = "l2") -> torch.Tensor:
    """Relative errors of all pairs against float64 and the definition."""
    out = torch.full((len(x), len(y)), torch.nan)
    integers.computed(x, y, get(metric), out)
    a, b = x.double(), y.double()
    if metric == "cosine":
        a, b = (rows / rows.norm(dim=1, keepdim=True) / 2**0.5 for rows in (a, b))
    wanted = (a[:, None] - b[None]).square().sum(-1)
    wanted = wanted.sqrt() if metric == "l2" else wanted
    return ((out - wanted).abs() / wanted).nan_to_num(0.0)


def test_digits_are_the_row_but_for_what_is_said_to_be_lost() -> None:
    rows = normal(11, 70).float()
    rows[2] *= 1e-30
    rows[3] = 0
    center = torch.linspace(-1, 1, 70)
    digits, scales, squares, limits = integers.coded(rows[:9], rows[9:], center, "l2")
    whole = digits.view(4, 11, -1).double()
    again = (((whole[0] * 256 + whole[1]) * 256 + whole[2]) * 256 + whole[3]) * scales[:, None]
    assert whole[0].abs().amax(1).tolist() == [127] * 11
    apart = again[:, :70] - (rows.double() - center)
    assert not again[:, 70:].any()
    lost = torch.maximum(apart.norm(dim=1) * 2 / 0.7, scales * (72 / 0.3) ** 0.5 / 2 * 2**0.01)
    assert bool((limits >= 2**24 * lost).all())
    assert torch.allclose(squares, again.square().sum(1), rtol=1e-14)
    assert float(apart.abs().max()) < 2**-31 * float((rows - center).abs().max())


@pytest.mark.parametrize("metric", integers.FORMS)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_an_offset_that_all_rows_share_costs_no_digits(metric: str, offset: float) -> None:
    x, y = ((normal(count, 40, count) + offset).float() for count in (9, 140))
    assert float(errors(x, y, metric).max()) < ROUNDING


def test_clusters_near_rows_and_rows_of_other_sizes() -> None:
    x, y = normal(3, 33).repeat(8, 1), normal(3, 33).repeat(16, 1)
    x += 1e-3 * normal(24, 33, 1)  # every third pair is near: more than are computed at a time
    y[7], y[8], y[40:] = x[0], x[1] * (1 + 1e-6), 1e6 * normal(8, 33, 2)
    assert float(errors(x.float(), y.float()).max()) < ROUNDING
    assert float(errors(x.half(), y.clamp(-1e4, 1e4).half()).max()) < ROUNDING


def test_one_row_far_off_moves_no_other() -> None:
    x, y = normal(8, 20).float(), normal(40, 20, 1).float()
    y[0] = 1e12
    assert float(errors(x, y, "sqeuclidean").max()) < ROUNDING


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e-19, 1e17, 1e18, 1e30])
def test_squares_may_leave_the_range_of_float32(scale: float) -> None:
    x, y = (normal(3, 20) * scale).float(), (normal(4, 20, 1) * scale).float()
    assert float(errors(x, y).max()) < ROUNDING


def test_long_rows_and_other_devices_go_another_way() -> None:
    assert not integers.can("l2", torch.ones(2, 3))
