"""Rows that come and go, rows that a query may find, an index in a file: as a float64 search of what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mlsys.distance.language import why_not
from mlsys.distance.metrics.cosine import Cosine
from mlsys.distance.search import Index
from mlsys.distance.search.ranking import RANKINGS
from mlsys.distance.search.reference import reference
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.errors import UserError

METRICS = sorted(RANKINGS)


def wanted(queries: torch.Tensor, rows: dict[int, torch.Tensor], k: int, metric: str) -> Any:
    """Row numbers (Q, k) that a float64 search of the numbered rows gives; -1 where there are fewer."""
    numbers = torch.tensor(sorted(rows))
    few = min(k, len(numbers))
    held = torch.stack([rows[int(number)] for number in numbers]).cpu()
    found = numbers[torch.from_numpy(reference(queries, held, few, metric)[1])].numpy()
    return np.pad(found, ((0, 0), (0, k - few)), constant_values=-1)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_comes_and_goes_the_rows_left_are_searched_by_their_numbers(data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(METRICS))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9999)))
    most = (
        999 if metric == "cosine" else 2
    )  # small ones have angles that are equal but for float64's rounding

    def made(count: int) -> torch.Tensor:
        return torch.randint(-most, most + 1, (count, 4), generator=generator).float()

    queries, first = made(3), made(data.draw(st.integers(1, 60)))
    index, model = Index(first, metric), dict(enumerate(first))
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()) or len(model) == 1:
            new = made(data.draw(st.integers(1, 30)))
            model.update(zip(index.add(new).tolist(), new, strict=True))
        else:
            gone = data.draw(st.lists(st.sampled_from(sorted(model)), max_size=len(model) - 1, unique=True))
            index.remove(gone)
            model = {number: row for number, row in model.items() if number not in gone}
        k = data.draw(st.integers(1, len(model)))
        np.testing.assert_array_equal(index.search(queries, k)[1], wanted(queries, model, k, metric))
        allowed = data.draw(st.lists(st.sampled_from(sorted(model)), min_size=1, unique=True))
        few = {number: model[number] for number in allowed}
        mask = torch.zeros(index.numbers.next, dtype=torch.bool)
        mask[allowed] = True
        for form in (allowed, mask, [allowed] * 3, mask.expand(3, -1)):
            np.testing.assert_array_equal(
                index.search(queries, k, form)[1], wanted(queries, few, k, metric), str(form)
            )
    assert len(index) == len(model)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.02, 0.6])
def test_a_mask_over_many_rows(metric: str, share: float) -> None:
    generator = torch.Generator().manual_seed(2)
    rows, queries = (torch.randn(count, 16, generator=generator) for count in (9000, 4))
    masks = torch.rand(4, 9000, generator=generator) < share
    index = Index(rows, metric)
    distances, found = index.search(queries, 12, masks)
    for line in range(4):
        places = masks[line].nonzero()[:, 0]
        keys, numbers = reference(queries[line : line + 1], rows[places], 12, metric)
        np.testing.assert_array_equal(found[line : line + 1], places[torch.from_numpy(numbers)])
        np.testing.assert_allclose(distances[line : line + 1], keys, rtol=1e-6)
        alone = index.search(queries[line : line + 1], 12, masks[line])
        np.testing.assert_array_equal(alone[1], found[line : line + 1])


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.slow
@pytest.mark.skipif(why_not(DEVICE) is not None, reason="needs Triton")
@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_the_kernels_search_what_is_left(metric: str) -> None:
    generator = torch.Generator().manual_seed(8)
    rows, queries = (torch.randn(count, 20, generator=generator).to(DEVICE) for count in (200, 2))
    index = Index(rows[:150], metric, "kernels")
    index.remove(range(0, 150, 3))
    index.add(rows[150:])
    model = {number: row for number, row in enumerate(rows) if number >= 150 or number % 3}
    for allowed in (None, [1, 2, 4, 155, 199], list(model)[20:]):
        some = model if allowed is None else {number: model[number] for number in allowed}
        for _ in range(3 if DEVICE == "cuda" else 1):  # then the third time is from a CUDA graph
            found = index.search(queries, 4, allowed)[1]
        np.testing.assert_array_equal(found.cpu(), wanted(queries.cpu(), some, 4, metric))


def test_who_may_find_fewer_than_k_gets_them_and_then_nothing() -> None:
    rows = torch.eye(4)
    rows[2] = 0  # at no cosine distance from anything, and found all the same
    distances, found = Index(rows, "cosine").search(np.eye(4, dtype=np.float32)[:2], 3, [[0, 2], []])
    assert found.tolist() == [[0, 2, -1], [-1, -1, -1]]
    assert np.isnan(distances).tolist() == [[False, True, True], [True] * 3]


def test_added_rows_are_numbered_in_the_form_they_came_in() -> None:
    index = Index(np.eye(3), "l2")
    index.remove([1, 2])
    assert index.add(np.eye(3)[:2]).tolist() == [3, 4]
    assert isinstance(index.add(torch.eye(3).double()), torch.Tensor)
    assert index.search(np.eye(3)[1:2], 2)[1].tolist() == [[4, 6]]
    assert isinstance(index.search(np.eye(3), 1)[1], np.ndarray)


def test_an_index_in_a_file_has_its_numbers_and_its_rows_stay_there(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(5000, 8, generator=generator).half()
    index, queries = Index(rows, "dot"), rows[:3].clone()
    index.remove(range(0, 5000, 7))
    index.add(rows[:10])
    index.save(tmp_path / "index.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["index.safetensors"]
    loaded = Index.load(tmp_path / "index.safetensors")
    for one, other in zip(loaded.search(queries, 40), index.search(queries, 40), strict=True):
        assert torch.equal(one, other)
    assert loaded.ranking.name == "dot"
    address = loaded.rows.data_ptr()
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    at = [
        line[-1]
        for line in lines
        if int(line[0].split("-")[0], 16) <= address < int(line[0].split("-")[1], 16)
    ]
    assert at == [str(tmp_path / "index.safetensors")]
    assert loaded.add(rows[:1]).tolist() == [5010]
    streamed = StreamedIndex(Index.load(tmp_path / "index.safetensors").rows, "dot", "cpu", 1 << 20)
    assert torch.equal(index.numbers.of(streamed.search(queries, 40)[1]), index.search(queries, 40)[1])


class Angle(Cosine):
    """Not in any module that a name leads to."""

    name: str = "angle"


def test_a_metric_of_ones_own_is_given_again(tmp_path: Path) -> None:
    rows, path = torch.eye(3), tmp_path / "index"
    Index(rows, Angle("angle")).save(path)
    with pytest.raises(UserError, match="metric=angle is none of"):
        Index.load(path)
    assert Index.load(path, metric=Angle("angle")).search(rows[:1], 1)[1].tolist() == [[0]]


FORMS = {
    "a list of masks as lists": [[False, True, False, True]] * 2,
    "a list of masks as arrays": [np.array([False, True, False, True])] * 2,
    "a list of masks as tensors": [torch.tensor([False, True, False, True])] * 2,
    "a list of tensors": [torch.tensor([1, 3]), torch.tensor([3, 1])],
    "a list of sets": [{1, 3}, frozenset({3, 1})],
    "a list of ranges": [range(1, 4, 2)] * 2,
    "a set": {1, 3},
    "an array backwards": np.array([1, 2, 3])[::-2],
    "an array that cannot be written": np.broadcast_to(np.array([[False, True, False, True]]), (2, 4)),
    "an array of foreign byte order": np.array([1, 3], ">i4"),
}


@pytest.mark.parametrize("allowed", FORMS.values(), ids=FORMS)
def test_which_rows_are_allowed_is_read_in_every_form(allowed: Any) -> None:
    found = Index(torch.tensor([[0.0], [1.0], [2.0], [3.0]])).search(torch.tensor([[0.0], [3.0]]), 2, allowed)
    assert found[1].tolist() == [[1, 3], [3, 1]]


INDEX = Index(torch.eye(3))
HALF: Any = 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: INDEX.add(torch.eye(2)), "rows of dim 2 do not fit an index of dim 3"),
        (lambda: INDEX.add(torch.eye(3).half()), "rows of float16 do not fit an index of float32"),
        (lambda: INDEX.add(torch.full((1, 3), torch.nan)), "row 0 holds nan"),
        (lambda: INDEX.remove([7]), "row 7 is not in the index"),
        (lambda: INDEX.remove([-1]), "row -1 is not in the index"),
        (lambda: INDEX.remove([0.5]), "numbers must be one list of whole numbers"),
        (lambda: INDEX.remove(["a"]), "numbers must be one list of whole numbers"),
        (lambda: INDEX.remove([2**70]), "numbers must be one list of whole numbers"),
        (lambda: INDEX.search(torch.eye(3), 1, [[0.9]] * 3), "allowed must be one list of whole numbers"),
        (lambda: INDEX.search(torch.eye(3), 1, [[[0]]] * 3), "allowed must be one list of whole numbers"),
        (lambda: INDEX.search(torch.eye(3), 1, [[0], 1, [2]]), "allowed must be one list of whole numbers"),
        (lambda: INDEX.search(torch.eye(3), 1, [[True]] * 3), r"allowed of shape \(1,\) must be \(3,\):"),
        (lambda: INDEX.warm(HALF), "queries=0.5 must be a whole number"),
        (lambda: INDEX.warm(k=[1, HALF]), "k=0.5 must be a whole number"),
        (lambda: INDEX.remove([0, 1, 2]), "an index keeps at least one row"),
        (lambda: INDEX.search(torch.eye(3), 1, [3]), "row 3 is not in the index"),
        (lambda: INDEX.search(torch.eye(3), 1, [[0], [1]]), "allowed has 2 lists for 3 queries"),
        (
            lambda: INDEX.search(torch.eye(3), 1, torch.ones(2, dtype=torch.bool)),
            r"allowed of shape \(2,\) must be \(3,\) or \(3, 3\)",
        ),
        (lambda: INDEX.save(""), "the index cannot be written: this names no file"),
        (lambda: Index.load("nowhere", "gpu"), "device=gpu is none of cpu, cuda"),
        (lambda: Index.load("nowhere", "meta"), "device=meta is none of cpu, cuda"),
        (lambda: Index.load("nowhere", "cuda:99"), r"device=cuda:99: this machine has \d GPUs"),
        (lambda: StreamedIndex(torch.eye(3), "l2", "gpu", 1 << 20), "device=gpu is none of cpu, cuda"),
        (lambda: Index.load("nowhere"), "nowhere: there is no such file"),
        (lambda: INDEX.save("/nowhere/index"), "/nowhere/index: the index cannot be written"),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(call: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
    assert (len(INDEX), INDEX.numbers.next) == (3, 3)


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = Index(torch.eye(3))
    index.remove([1])
    index.save(path)
    kept, about = load_file(path), {"format": "mlsys index 1", "metric": "l2", "next": "3"}
    for tensors, metadata in (
        (kept | {"numbers": torch.tensor([2, 0])}, about),
        (kept | {"numbers": torch.tensor([0])}, about),
        (kept | {"numbers": torch.tensor([0, 9])}, about),
        ({"other": kept["rows"]}, about),
        (kept, about | {"next": "many"}),
        (kept, {}),
    ):
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(UserError, match=r"not a saved index|do not fit them"):
            Index.load(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="not a saved index: "):
        Index.load(path)
