from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from mlsys.compare import match
from mlsys.errors import UserError
from mlsys.record import Record


def runs(*made: Record, at: str = "a") -> match.Runs:
    return [(Path(f"/o/{at}/{i}"), record) for i, record in enumerate(made)]


def test_the_same_configurations_pair_up_whatever_their_order() -> None:
    a = runs(*(synthetic.distance(m, n) for m in ("l2", "l1") for n in (10, 20)))
    found = match.match(a, runs(*(record for _, record in a[::-1]), at="b"))
    assert len(found.pairs) == 4
    assert all(not pair.differs for pair in found.pairs)
    assert match.names(found.pairs) == ["l2 · n=10", "l2 · n=20", "l1 · n=10", "l1 · n=20"]


def test_what_differs_throughout_is_what_is_compared() -> None:
    a = runs(*(synthetic.distance("l2", n) for n in (10, 20)))
    b = runs(*(synthetic.distance("l2", n, config={"dtype": "float16"}) for n in (10, 20)), at="b")
    found = match.match(a, b)
    assert [pair.differs for pair in found.pairs] == [
        {"config.dtype".removeprefix("config."): ("float32", "float16")}
    ] * 2
    assert match.names(found.pairs) == ["n=10", "n=20"]


def test_a_key_that_overlaps_is_no_difference_to_compare() -> None:
    a = runs(synthetic.distance("l2", 10), synthetic.distance("l2", 20))
    b = runs(synthetic.distance("l2", 20), synthetic.distance("l2", 30), at="b")
    found = match.match(a, b)
    assert len(found.pairs) == 1
    assert [str(path) for path in found.alone_a + found.alone_b] == ["/o/a/0", "/o/b/1"]


def test_two_single_runs_always_pair() -> None:
    (pair,) = match.match(runs(synthetic.serving("baseline")), runs(synthetic.serving("batch"), at="b")).pairs
    assert pair.differs == {"server.name": ("baseline", "batch")}


def test_seeds_are_repeats_of_one_configuration() -> None:
    a = runs(*(synthetic.distance(config={"seed": seed}) for seed in range(3)))
    (pair,) = match.match(a, runs(synthetic.distance(), at="b")).pairs
    assert (len(pair.a), len(pair.b)) == (3, 1)


def test_failed_runs_are_left_out_and_named() -> None:
    found = match.match(runs(synthetic.distance(), synthetic.failed()), runs(synthetic.distance(), at="b"))
    assert len(found.pairs) == 1
    assert [str(path) for path in found.not_ok] == ["/o/a/1"]


def test_load_takes_a_file_a_run_and_a_sweep(tmp_path: Path) -> None:
    synthetic.save(tmp_path, [synthetic.distance("l2"), synthetic.distance("l1")])
    assert len(match.load(tmp_path)) == 2
    assert len(match.load(tmp_path / "0")) == 1
    assert len(match.load(tmp_path / "0" / "record.json")) == 1


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is no record and no directory"):
        match.load(Path("nowhere"))
    with pytest.raises(UserError, match=r"holds no record\.json"):
        match.load(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(UserError, match="not a record"):
        match.load(tmp_path / "record.json")
