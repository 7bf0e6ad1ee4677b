from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsys import record
from mlsys.record import Level, Record, Results


def make(**changes: object) -> Record:
    fields = {
        "workload": "distance",
        "command": ["run.py"],
        "config": {"n": 3},
        "config_digest": "d",
        "environment": {},
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_record_that_never_ended_says_so(tmp_path: Path) -> None:
    make().write(tmp_path)
    content = json.loads((tmp_path / "record.json").read_text())
    assert (content["schema"], content["status"]) == (1, "failed")
    assert content["error"].startswith("unfinished")
    assert content["finished_at"] is None


def test_parts_are_kept_with_their_samples_and_read_back_equal(tmp_path: Path) -> None:
    entry = make()
    entry.add(Results({"latency_ms": 2.0}, {"latency_ms": [1, 2, 3]}))
    entry.add(Level({"concurrency": 1}, {"throughput_rps": [4.0]}))
    entry.add(Level({"concurrency": 5}, {"throughput_rps": [5.0]}))
    entry.end()
    entry.write(tmp_path)
    assert record.read(tmp_path) == entry
    assert entry.samples["levels.1.throughput_rps"] == [5.0]
    assert [level["concurrency"] for level in entry.levels] == [1, 5]
    assert (entry.status, entry.error) == ("ok", None)


def test_nan_and_infinity_are_written_as_strings_that_float_reads(tmp_path: Path) -> None:
    entry = make()
    entry.add(Results({"value": float("nan"), "reference": float("-inf")}))
    text = entry.write(tmp_path).read_text()
    results = json.loads(text, parse_constant=pytest.fail)["results"]
    assert results == {"value": "nan", "reference": "-inf"}
    assert float(str(results["reference"])) == float("-inf")


def test_no_reader_sees_half_a_file(tmp_path: Path) -> None:
    make().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_the_digest_ignores_where_output_goes_and_the_order_of_keys() -> None:
    one = record.digest({"n": 3, "metric": {"name": "l2"}, "tracking": {"mode": "off"}})
    assert one == record.digest({"tracking": {"mode": "online"}, "metric": {"name": "l2"}, "n": 3})
    assert one != record.digest({"n": 4, "metric": {"name": "l2"}})


def test_find_returns_the_oldest_first_and_names_what_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(started_at="2026-01-02").write(tmp_path / "a")
    make(started_at="2026-01-01").write(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_text("{}")
    assert [path.name for path, _ in record.find([tmp_path])] == ["b", "a"]
    assert "passed over" in capsys.readouterr().err


def test_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema 99, this version reads 1"):
        record.read(tmp_path)
