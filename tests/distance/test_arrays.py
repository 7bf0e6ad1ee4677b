"""Whatever numbers come in, the answer is that to a plain tensor of them; what cannot be read is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from mlsys.distance import distance, plan
from mlsys.distance.search import Index, search
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.distance.source import TensorSource
from mlsys.errors import UserError

ROWS = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)


class Exported:
    """Nothing but DLPack's two methods."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **words: Any) -> Any:
        return self._array.__dlpack__(**words)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class Tagged(torch.Tensor):
    """A subclass that holds its elements."""


def field(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rows as a field of records of 25 bytes: unaligned, and strides that are no multiple of an element."""
    records = np.zeros(len(rows), dtype=[("id", "i1"), ("v", rows.dtype, rows.shape[1:])])
    records["v"] = rows
    return records["v"]


def read_only(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


def negated(rows: np.ndarray[Any, Any]) -> torch.Tensor:
    """A view whose memory holds the negative of its values."""
    view = torch.complex(torch.zeros(rows.shape), torch.from_numpy(-rows)).conj().imag
    assert view.is_neg()
    return view


FORMS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "negative strides": lambda rows: rows[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "big-endian": lambda rows: rows.astype(">f4"),
    "read-only": read_only,
    "read-only and strided": lambda rows: read_only(np.repeat(rows, 2, axis=-1))[..., ::2],
    "structured field": field,
    "masked array": lambda rows: np.ma.masked_array(rows, rows > 0),
    "data frame": pd.DataFrame,
    "DLPack": Exported,
    "tensor": torch.from_numpy,
    "negated view": negated,
    "subclass": lambda rows: torch.from_numpy(rows).as_subclass(Tagged),
    "parameter without grad": lambda rows: torch.nn.Parameter(torch.from_numpy(rows), requires_grad=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_search_and_distance_take_every_form_of_the_same_numbers(form: str) -> None:
    make = FORMS[form]
    for metric in ("l2", "l1", "cosine"):
        wanted = search(ROWS[:2], ROWS, 4, metric)
        found = search(make(ROWS[:2]), make(ROWS), 4, metric)
        assert [np.asarray(part).tolist() for part in found] == [part.tolist() for part in wanted]
        kind = torch.Tensor if isinstance(make(ROWS), torch.Tensor) else np.ndarray
        assert {type(part) for part in found} == {kind}
    for n in (100, 40_000):
        x, y = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
        if form not in ("negative strides", "data frame"):  # of two dimensions
            assert float(distance(make(x), make(y))) == float(distance(x, y))


def test_lists_and_series_are_read_as_numpy_reads_them() -> None:
    assert distance([1, 2, 3], (1, 2, 4)) == 1.0
    assert distance([0.5], np.array([0.25])) == 0.25
    assert type(distance(pd.Series(ROWS[0]), pd.Series(ROWS[1]))) is np.float32
    assert distance(pd.Series(ROWS[0]), pd.Series(ROWS[1])) == distance(ROWS[0], ROWS[1])
    distances, numbers = search([[1.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]], 1)
    assert (distances.tolist(), numbers.tolist()) == ([[1.0]], [[1]])


def test_bfloat16_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = ROWS.astype(ml_dtypes.bfloat16)
    plain = torch.from_numpy(ROWS).bfloat16()
    assert search(rows[:2], rows[::-1], 3)[1].tolist() == search(plain[:2], plain.flip(0), 3)[1].tolist()
    assert distance(rows[0], rows[1]) == float(distance(plain[0], plain[1]))


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine", "dot"])
def test_int8_is_searched_as_the_numbers_it_holds(metric: str) -> None:
    whole = np.random.default_rng(1).integers(-128, 128, (4000, 24)).astype(np.int8)
    wanted = search(whole[:9].astype(np.float64), whole.astype(np.float64), 20, metric)
    for queries, rows in (
        (whole, whole),
        (whole, whole.astype(np.float32)),
        (whole.astype(np.float32), whole),
    ):
        distances, numbers = search(queries[:9], rows, 20, metric)
        assert np.array_equal(numbers, wanted[1])
        assert np.array_equal(distances, wanted[0].astype(np.float32))


def test_no_queries_find_nothing() -> None:
    for index in (Index(ROWS), StreamedIndex(ROWS, "l2", "cpu", 1 << 20)):
        distances, numbers = index.search(ROWS[:0], 3)
        assert (distances.shape, numbers.shape) == ((0, 3), (0, 3))
        assert (distances.dtype, numbers.dtype) == (np.float32, np.int64)


def test_distances_of_float64_are_float64_in_all_its_range_and_refused_outside() -> None:
    rows = np.array([[3e100, 4e100], [0, 0]])
    assert search(np.zeros((1, 2)), rows[:1], 1)[0] == pytest.approx(5e100)
    assert search(np.full((1, 2), 1e-120), rows[1:], 1)[0] == pytest.approx(2**0.5 * 1e-120)
    for metric in ("l2", "sqeuclidean", "cosine"):
        with pytest.raises(UserError, match="rows cannot be searched: row 1 is too small to be squared"):
            search(np.ones((1, 2)), np.array([[0.0, 0.0], [0.0, 1e-200]]), 1, metric)
        with pytest.raises(UserError, match="queries cannot be searched: row 0 is too small to be squared"):
            search(np.full((1, 2), 1e-200), np.ones((2, 2)), 1, metric)
        with pytest.raises(UserError, match="row 0 is too large to be squared; scale all down"):
            search(np.full((1, 2), 1e200), np.eye(2), 1, metric)
        many = np.ones((300, 2))
        many[290] = 1e154
        with pytest.raises(UserError, match="queries cannot be searched: row 290 is too large"):
            search(many, np.eye(2), 1, metric)
    assert np.isfinite(search(np.full((1, 2), 4e153), np.full((1, 2), -4e153), 1)[0]).all()
    assert search(np.full((1, 2), 1e200), np.eye(2), 1, "l1")[0] == pytest.approx(2e200)
    assert search(np.full((1, 2), 1e-200), np.full((1, 2), 3e-200), 1, "l1")[0] == pytest.approx(4e-200)


CALLS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "plan": lambda x, y: plan(x[0], y[0]),
    "source": lambda x, y: TensorSource(x[0]),
    "search": lambda x, y: search(x, y, 1),
    "index": lambda x, y: Index(x),
    "streamed": lambda x, y: StreamedIndex(x, "l2", "cpu", 1 << 20),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_gradient_is_refused_where_it_would_be_lost(call: str) -> None:
    x, y = torch.rand(4, 3).requires_grad_(), torch.rand(4, 3)
    with pytest.raises(UserError, match=r"requires grad, and this call has no gradient: pass \w+\.detach"):
        CALLS[call](x, y)
    with torch.autocast("cpu"), pytest.raises(UserError, match="requires grad"):
        CALLS[call](x, y)
    CALLS[call](x.detach(), y)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            CALLS[call](x, y)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, by make_dual
@pytest.mark.parametrize("call", [*CALLS.values(), lambda x, y: distance(x[0], y[0])])
def test_a_tangent_of_forward_mode_is_refused(call: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
    y = torch.rand(4, 3)
    with (
        forward_ad.dual_level(),
        pytest.raises(UserError, match="has a tangent, and distances have no derivative"),
    ):
        call(forward_ad.make_dual(y, y), y)


def test_fake_tensors_have_no_rows_to_search() -> None:
    with FakeTensorMode():
        fake = torch.ones(3, 3)
    with pytest.raises(
        UserError, match="is a FakeTensor without elements of its own: pass an ordinary tensor"
    ):
        search(np.ones((1, 3)), fake, 1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), "is a sparse_coo tensor: pass a dense one"),
        (lambda: torch.ones(3, 3, device="meta"), "is on meta: distances run on cpu and cuda"),
        (lambda: np.ones((3, 3), "c16"), "has dtype complex128; distances take float64, float32"),
        (lambda: np.ones((3, 3), np.longdouble), "has dtype .*; distances take float64, float32"),
        (lambda: np.full((3, 3), None), "has dtype object; distances take float64, float32"),
        (lambda: Exported(np.ones((3, 3), "i8")), "has dtype int64; distances take float64, float32"),
        (lambda: [[1.0], [1.0, 2.0]], "=list cannot be read as numbers"),
        (lambda: {1: 2}, "must be a torch tensor, a numpy array or what numpy makes one of, not dict"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(made: Callable[[], Any], message: str) -> None:
    for call in (lambda: distance(made(), np.ones(3)), lambda: search(np.ones((1, 3)), made(), 1)):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
