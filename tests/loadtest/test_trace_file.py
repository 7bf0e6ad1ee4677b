from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import traces

from mlsys.errors import UserError
from mlsys.loadtest import trace_file
from mlsys.loadtest.trace_file import Traced

ROWS = [(3.0, 20, 5), (3.5, 7, 0), (10.0, 9, 1)]
WANTED = (Traced(0.0, 20, 5), Traced(0.5, 7, 0), Traced(7.0, 9, 1))


def test_a_mooncake_trace_is_known_by_its_columns(tmp_path: Path) -> None:
    found = trace_file.read(str(traces.mooncake(tmp_path / "m.jsonl", 50, 10.0)), None, None)
    assert (len(found.requests), found.span_s, found.unit) == (50, 10.0, "ms")
    assert dict(found.columns) == {
        "time": "timestamp", "input": "input_length", "output": "output_length", "prefix": "hash_ids"
    }  # fmt: skip
    assert found.requests[0].blocks
    assert all(request.blocks[0] < 8 for request in found.requests)
    assert found.about() == (
        f"{tmp_path}/m.jsonl: 50 requests in 10 s; times from 'timestamp' (ms), prompt lengths from 'input_length',"
        " answer lengths from 'output_length', shared prefixes from 'hash_ids'"
    )


def test_a_burstgpt_trace_counts_seconds(tmp_path: Path) -> None:
    found = trace_file.read(str(traces.burstgpt(tmp_path / "b.csv", ROWS)), None, None)
    assert (found.requests, found.unit) == (WANTED, "s")
    assert found.columns["output"] == "Response tokens"


def test_an_azure_trace_has_dates_of_seven_digits(tmp_path: Path) -> None:
    found = trace_file.read(str(traces.azure(tmp_path / "a.csv", ROWS)), None, None)
    assert [request.at_s for request in found.requests] == pytest.approx([0, 0.5, 7], abs=1e-6)
    assert [request.input_tokens for request in found.requests] == [20, 7, 9]
    assert found.unit == "date"


def test_a_table_of_ones_own_says_its_names_and_unit(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"t": 5, "n": 3.0}\n\n{"t": 6, "n": 4}\n')
    found = trace_file.read(str(path), {"time": "t", "input": "n"}, "s")
    assert found.requests == (Traced(0, 3, None), Traced(1, 4, None))
    with pytest.raises(
        UserError, match=r"line 1: no column tells when requests came; there are t, n \(loadtest"
    ):
        trace_file.read(str(path), None, None)
    with pytest.raises(
        UserError, match=r"^loadtest\.columns\.input=m: loadtest\.path=.*own\.jsonl, line 1 has t, n$"
    ):
        trace_file.read(str(path), {"time": "t", "input": "m"}, None)
    with pytest.raises(
        UserError, match=r"^loadtest\.columns has no when; it has time, input, output, prefix$"
    ):
        trace_file.read(str(path), {"time": "t", "when": "n"}, None)
    with pytest.raises(UserError, match=r"^loadtest\.time_unit=h is none of: s ms us ns$"):
        trace_file.read(str(path), None, "h")


def test_what_stands_out_of_order_is_put_in_order_and_said(tmp_path: Path) -> None:
    found = trace_file.read(str(traces.burstgpt(tmp_path / "b.csv", [ROWS[1], ROWS[0], ROWS[2]])), None, None)
    assert found.requests == WANTED
    assert found.reordered == 1
    assert "1 stood after a later one and are put in order" in found.about()


def test_a_long_trace_is_read_to_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "MOST_REQUESTS", 2)
    found = trace_file.read(str(traces.burstgpt(tmp_path / "b.csv", ROWS)), None, None)
    assert (len(found.requests), found.more) == (2, True)
    assert "the file goes on, only 2 are read" in found.about()


GOOD = {"timestamp": 0, "input_length": 3, "output_length": 4, "hash_ids": [1]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"timestamp": 1', "no JSON: Expecting ',' delimiter"),
        ("[1]", "no JSON object"),
        (json.dumps({"timestamp": 1}), "no input_length, which the rows before have"),
        (json.dumps(GOOD | {"timestamp": "soon"}), "timestamp=soon is no time"),
        (json.dumps(GOOD | {"timestamp": float("inf")}), "timestamp=inf is no time"),
        (json.dumps(GOOD | {"input_length": -3}), "input_length=-3 must be a whole number of tokens"),
        (json.dumps(GOOD | {"output_length": 1.5}), "output_length=1.5 must be a whole number of tokens"),
        (json.dumps(GOOD | {"output_length": 1e30}), "must be a whole number of tokens, 0 to 10_000_000"),
        (json.dumps(GOOD | {"hash_ids": [-1]}), "hash_ids must be a list of whole numbers of at least 0"),
        (json.dumps(GOOD | {"hash_ids": "1"}), "hash_ids must be a list"),
    ],
)
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, bad: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + bad + "\n")
    with pytest.raises(UserError) as caught:
        trace_file.read(str(path), None, None)
    assert str(caught.value).startswith(f"loadtest.path={path}, line 2: ")
    assert message in str(caught.value)


def test_files_that_are_no_trace(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("Timestamp,Request tokens\n")
    for path, message in (
        (empty, "has no requests"),
        (tmp_path / "gone.csv", "cannot be read: No such file or directory"),
        (tmp_path / "x.pkl", "is none of: .jsonl .ndjson .json .csv .parquet"),
    ):
        with pytest.raises(UserError, match=re.escape(f"loadtest.path={path} {message}")):
            trace_file.read(str(path), None, None)
