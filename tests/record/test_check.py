"""Odd records are named in one line each, and the rest is drawn: real records, each field set to something else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlsys import record
from mlsys.compare import __main__ as compare
from mlsys.defaults import ROOT
from mlsys.record import check
from mlsys.report import __main__
from mlsys.run import sweep

REAL = {
    "distance": "seed_distance/records/l2-1e4",
    "search": "h100_search/records/cpu/l1-64",
    "serving": "batching_policies/records/closed",
}
FIGURES = (("results",), ("levels",), ("samples",))
OTHERS: tuple[Any, ...] = (None, [], {}, "x", -1, True, 1e308, "nan", [[1]], {"a": {"b": None}})


def real(workload: str) -> dict[str, Any]:
    path = next((ROOT / "experiments" / REAL[workload]).rglob("record.json"))
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def fields(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field; of a list's items the first stands for all, of samples the list for its items."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from fields(value[key], (*at, key))
    elif isinstance(value, list) and value and at[:1] != ("samples",):
        yield from fields(value[0], (*at, 0))


def changed(content: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    made = copy.copy(content)
    made[at[0]] = changed(content[at[0]], at[1:], value)
    return made


def variants(content: dict[str, Any], most: int) -> list[Any]:
    """About `most` fields, each with another value than its neighbours get.

    All fields that have names of their own; of the many figures evenly as many as there is room for.
    """
    every = list(fields(content))
    named = [at for at in every if at[:1] not in FIGURES or len(at) == 1]
    figures = [at for at in every if at[:1] in FIGURES and len(at) > 1]
    chosen = named + figures[:: max(1, len(figures) // max(1, most - len(named)))]
    return [changed(content, at, OTHERS[turn % len(OTHERS)]) for turn, at in enumerate(chosen)]


@pytest.mark.slow
@pytest.mark.parametrize("workload", REAL)
def test_whatever_a_record_holds_the_page_and_the_tables_are_drawn(
    workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = real(workload)
    for index, odd in enumerate((content, *variants(content, most=160))):
        (tmp_path / f"{index:04}").mkdir()
        (tmp_path / f"{index:04}" / "record.json").write_text(json.dumps(odd))
    runs = record.find([tmp_path])
    named = [line for line in capsys.readouterr().err.splitlines() if line.startswith("passed over: ")]
    assert len(runs) + len(named) == index + 1
    assert len(runs) > index / 2
    assert sweep.draw(tmp_path, runs) == tmp_path / "index.html"
    assert __main__.main([str(tmp_path), "--out", str(tmp_path / "all.html")]) == 0
    assert (tmp_path / "all.html").stat().st_size > 10_000
    assert capsys.readouterr().err == ""  # each is named once, however often it is met


@pytest.mark.slow
@pytest.mark.parametrize("workload", REAL)
def test_whatever_a_record_holds_it_is_compared_or_refused_in_one_line(
    workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = real(workload)
    good = tmp_path / "good.json"
    good.write_text(json.dumps(content))
    for odd in variants(content, most=100):
        (tmp_path / "record.json").write_text(json.dumps(odd))
        code = compare.main([str(good), str(tmp_path / "record.json")])
        out = capsys.readouterr()
        assert (code, out.err.count("\n")) in {(0, 0), (2, 1)}, odd


def test_every_published_record_is_a_record() -> None:
    published = list((ROOT / "experiments").rglob("record.json"))
    assert len([check.load(path) for path in published]) == len(published) > 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "not a record: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "not a record: it is []"),
        ("{}", "not a record: schema null, this version reads 1"),
        ("[" * 100_000, "not a record: it is nested too deeply"),
        ("9" * 400, "not a record: it has a whole number of 400 digits"),
        ('{"schema": 1, "error": "\\ud800"}', "not a record: 'utf-8' codec can't encode character"),
    ],
    ids=["empty", "list", "no schema", "deep", "long number", "surrogate"],
)
def test_what_is_no_record_is_said_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="record") as caught:
        record.read(tmp_path)
    assert str(caught.value).startswith(f"{file}: {line}")
    assert "\n" not in str(caught.value)


def test_a_field_is_named_with_what_it_holds(tmp_path: Path) -> None:
    content = real("distance") | {"environment": None}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"record\.json: not a record: environment is null$"):
        record.read(tmp_path)


def test_directories_and_bytes_are_no_records_and_are_named_once(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a" / "record.json").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "record.json").write_bytes(b"\x93NUMPY\x00\xff")
    assert record.find([tmp_path]) == record.find([tmp_path]) == []
    said = sorted(capsys.readouterr().err.splitlines())
    assert said[0] == f"passed over: {tmp_path}/a/record.json: not a record: it is no file"
    assert said[1].startswith(f"passed over: {tmp_path}/b/record.json: not a record: 'utf-8' codec can't")
    assert len(said) == 2
