from __future__ import annotations

from array import array
from pathlib import Path

import pandas as pd
import pytest

from mlsys.loadtest.rows import FILE_NAME, OK, Row, read, table, write


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [
        Row(0, 0, id=1, intended_s=1, sent_s=1.5, done_s=3, outcome=OK, hit=True, batch_size=4),
        Row(1, 0),
    ]
    write(tmp_path, rows)
    found = pd.read_parquet(tmp_path / FILE_NAME)
    assert found["e2e_ms"].tolist() == pytest.approx([2000, 0])
    assert found["dispatch_delay_ms"].tolist() == pytest.approx([500, 0])
    assert found["outcome"].tolist() == ["ok", "failed"]
    assert found["hit"].tolist() == [True, pd.NA]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_the_gaps_of_a_stream_are_a_list_in_its_row(tmp_path: Path) -> None:
    gaps = array("f", [1.5, 2.5])
    streamed = Row(0, 0, intended_s=1, first_text_s=1.25, done_s=2, tokens=4, itl_ms=gaps, outcome=OK)
    write(tmp_path, [Row(0, 0), streamed, Row(0, 0, first_text_s=1.0, itl_ms=array("f"))])
    found = pd.read_parquet(tmp_path / FILE_NAME)
    assert [None if one is None else list(one) for one in found["itl_ms"]] == [None, [1.5, 2.5], []]
    assert found["ttft_ms"].tolist()[1] == 250
    assert found["tpot_ms"].tolist()[1] == 250
    write(tmp_path, [Row(0, 0)])
    assert pd.read_parquet(tmp_path / FILE_NAME)["itl_ms"].tolist() == [None]


def test_types_do_not_depend_on_what_happened() -> None:
    all_kinds = table([Row(0, 0, tokens=3, error="x", hit=False)])
    assert (table([Row(0, 0)]).dtypes == all_kinds.dtypes).all()


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    rows = [
        Row(0, 0, id=1, intended_s=0.1 + 0.2, done_s=1 / 3, outcome=OK, hit=False, itl_ms=array("f", [0.1])),
        Row(
            1,
            2,
            max_tokens=4,
            error="é",
            session=3,
            turn=0,
            met=True,
            offered_rate_rps=0.7,
            itl_ms=array("f"),
        ),
    ]
    write(tmp_path, rows)
    assert read(tmp_path) == rows
