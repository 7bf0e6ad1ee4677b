"""Others' results as records and ours as theirs; what is written is read again as what it was."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import row
from sections import composed

from mlsys import export, formats, record
from mlsys.compare.__main__ import main as compare
from mlsys.formats import foreign
from mlsys.loadtest.rows import FAILED, Row, write
from mlsys.loadtest.statistics import summarise
from mlsys.record import Level, Record
from mlsys.report.__main__ import main as dashboard

# The shape that `vllm bench serve --save-result` saves.
VLLM: dict[str, Any] = {
    "date": "20260311-101500",
    "endpoint_type": "openai-chat",
    "backend": "openai-chat",
    "label": None,
    "model_id": "m/7b",
    "tokenizer_id": "m/7b",
    "num_prompts": 100,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 8,
    "duration": 20.0,
    "completed": 98,
    "failed": 2,
    "total_input_tokens": 9800,
    "total_output_tokens": 4900,
    "request_throughput": 4.9,
    "request_goodput": None,
    "output_throughput": 245.0,
    "total_token_throughput": 735.0,
    "mean_ttft_ms": 120.0,
    "median_ttft_ms": 110.0,
    "p99_ttft_ms": 300.0,
    "mean_tpot_ms": 30.0,
    "mean_itl_ms": 29.0,
    "p95_e2el_ms": 2100.0,
}
# The shape of AIPerf's profile_export_aiperf.json.
AIPERF: dict[str, Any] = {
    "schema_version": "1.0",
    "request_throughput": {"unit": "requests/sec", "avg": 13.2},
    "request_latency": {
        "unit": "ms",
        "avg": 6550.4,
        "p50": 5799.9,
        "p95": 8980.8,
        "p99": 9381.6,
        "max": 9383.4,
    },
    "time_to_first_token": {"unit": "ms", "avg": 1588.8, "p50": 787.5},
    "inter_token_latency": {"unit": "ms", "avg": 51.8, "p50": 51.9},
    "output_sequence_length": {"unit": "tokens", "avg": 96.9},
    "benchmark_duration": {"unit": "sec", "avg": 15.2},
    "request_count": {"unit": "requests", "avg": 200.0},
    "error_request_count": {"unit": "requests", "avg": 50.0},
    "was_cancelled": False,
    "start_time": "2025-10-17T20:22:08.939332",
    "input_config": {
        "endpoint": {
            "model_names": ["gpt-oss-20b"],
            "type": "chat",
            "streaming": True,
            "url": "localhost:9000",
        },
        "loadgen": {"concurrency": 100},
        "cli_command": "aiperf profile -m gpt-oss-20b",
    },
}


def saved(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def test_vllms_results_are_the_levels_of_one_record(tmp_path: Path) -> None:
    path = saved(tmp_path, a=VLLM | {"max_concurrency": 32}, b=VLLM, c={"other": 1})
    ((place, entry),) = formats.find(path)
    assert place == tmp_path
    assert entry.config["server"]["name"] == "vllm bench serve"
    assert entry.config["loadtest"] == {"name": "closed", "concurrency": [8, 32], "stream": True}
    one = entry.levels[0]
    assert (one["concurrency"], one["requests"], one["failed"], one["success_rate"]) == (8, 100, 2, 0.98)
    assert (one["throughput_rps"], one["output_tokens.mean"], one["prompt_tokens.mean"]) == (4.9, 50, 100)
    assert (one["ttft_ms.p50"], one["ttft_ms.p99"], one["e2e_ms.p95"]) == (110, 300, 2100)
    assert "e2e_ms.mean" not in one
    record.check.check(json.loads(json.dumps(entry.__dict__)))


def test_a_rate_is_an_open_loop(tmp_path: Path) -> None:
    ((_, entry),) = formats.find(saved(tmp_path, a=VLLM | {"request_rate": 4.0}))
    assert entry.levels[0]["offered_rate_rps"] == 4
    assert entry.config["loadtest"]["name"] == "poisson"


def test_aiperfs_result_is_a_level(tmp_path: Path) -> None:
    ((_, entry),) = formats.find(saved(tmp_path, profile_export_aiperf=AIPERF) / "profile_export_aiperf.json")
    assert entry.config["server"] == {"name": "aiperf", "url": "localhost:9000", "model": "gpt-oss-20b"}
    assert entry.command == ["aiperf profile -m gpt-oss-20b"]
    (level,) = entry.levels
    assert (level["concurrency"], level["requests"], level["success_rate"]) == (100, 250, 0.8)
    assert (level["e2e_ms.p95"], level["ttft_ms.p50"], level["tpot_ms.p50"]) == (8980.8, 787.5, 51.9)
    assert level["prompt_tokens.mean"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VLLM | {"completed": "many"}, "completed and request_throughput must be numbers"),
        (
            AIPERF | {"request_latency": {"unit": "ms"}},
            "request_throughput.avg and request_latency.avg must be numbers",
        ),
    ],
)
def test_a_broken_result_is_one_line(
    content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, broken=content) / "broken.json"
    assert compare([str(path), str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: {message}\n"
    assert dashboard([str(path), "--out", str(tmp_path / "page.html")]) == 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["avg", "unit"]), inner),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([VLLM, AIPERF]), st.data())
def test_odd_results_are_read_or_refused(whole: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    content = whole | {name: data.draw(VALUES)}
    module = formats.named("vllm" if whole is VLLM else "aiperf")
    if module.is_one(content):
        try:
            made = foreign.record([module.read(content, "a.json")])
        except ValueError:
            return
        json.dumps(made.levels, allow_nan=False)


def streamed(number: int, latency_s: float, **more: Any) -> Row:
    sent = 0.5 * number
    made = row(sent, sent + latency_s, tokens=5, prompt_tokens=7, id=number, concurrency=2, **more)
    made.first_text_s, made.itl_ms = sent + 0.1, array("f", [25.0] * 4)
    made.status = 200
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of ours with one level: 20 answers of 5 tokens in 0.2 s, and one failure."""
    rows = [streamed(number, 0.2) for number in range(20)]
    rows.append(row(10.0, 10.1, outcome=FAILED, status=500, error="status 500", id=20, concurrency=2))
    values, samples = summarise([rows], {})
    config = composed("server=external", server={"url": "http://h:1", "api": "openai", "model": "m"})
    entry = Record("serving", ["run.py", "server=external"], config, "d" * 64, {}, record.now())
    entry.add(Level({"concurrency": 2, **values}, samples))
    entry.end()
    place = tmp_path / "run"
    entry.write(place)
    write(place, rows)
    return place


def test_our_level_is_written_as_bench_serve_saves_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(run), "--format", "vllm", "--detailed"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == run / "export" / "vllm" / "0-concurrency2.json"
    content = json.loads(path.read_text())
    assert (content["model_id"], content["request_rate"], content["max_concurrency"]) == ("m", "inf", 2)
    assert (content["num_prompts"], content["completed"], content["failed"]) == (21, 20, 1)
    assert (content["total_input_tokens"], content["total_output_tokens"]) == (140, 100)
    assert content["mean_ttft_ms"] == pytest.approx(100)
    assert content["median_tpot_ms"] == pytest.approx(25)
    assert content["mean_e2el_ms"] == pytest.approx(200)
    assert content["std_e2el_ms"] == pytest.approx(0, abs=1e-6)
    assert content["total_token_throughput"] == pytest.approx(12 * content["request_throughput"])
    assert len(content["ttfts"]) == len(content["itls"]) == len(content["errors"]) == 21
    assert (content["itls"][0], content["errors"][20]) == ([0.025] * 4, "status 500")
    assert set(VLLM) - set(content) == set()


@pytest.mark.parametrize("name", ["vllm", "aiperf"])
def test_what_is_written_is_read_again_as_it_was(name: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export.main([str(run / "record.json"), "--format", name, "--out", str(out)]) == 0
    ((_, again),) = formats.find(out)
    ours, theirs = record.read(run).levels[0], again.levels[0]
    for figure in ("throughput_rps", "e2e_ms.p50", "ttft_ms.mean", "tpot_ms.mean", "itl_ms.mean"):
        assert theirs[figure] == pytest.approx(ours[figure]), figure
    for figure in ("concurrency", "requests", "succeeded", "output_tokens.mean", "prompt_tokens.mean"):
        assert theirs[figure] == pytest.approx(ours[figure]), figure


def test_ours_and_theirs_stand_side_by_side(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = saved(tmp_path / "theirs", a=VLLM | {"max_concurrency": 2})
    assert compare([str(run), str(theirs)]) == 0
    said = capsys.readouterr().out
    assert "server: external against vllm bench serve" in said
    assert "corpus: pydocs against unknown" in said
    assert "note: B is vllm bench serve's result, which counts latency from sending; unknown: " in said
    page = tmp_path / "page.html"
    assert dashboard([str(run), str(theirs), "--out", str(page)]) == 0
    text = page.read_text()
    assert "vllm bench serve" in text
    assert 'href="theirs/a.json"' in text
    assert "unknown" in text


def test_our_own_exports_are_not_shown_beside_their_record(run: Path, tmp_path: Path) -> None:
    from mlsys.report.__main__ import gather

    assert export.main([str(run), "--format", "vllm"]) == 0
    assert len(gather([run])) == 1


def test_a_record_without_its_requests_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "requests.parquet").unlink()
    assert export.main([str(run), "--format", "vllm"]) == 2
    assert capsys.readouterr().err == (
        f"{run} has no requests.parquet: others count from the sending of each request\n"
    )


def test_a_record_of_distances_is_no_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = Record("distance", [], {}, "d", {}, record.now())
    entry.write(tmp_path)
    assert export.main([str(tmp_path), "--format", "vllm"]) == 2
    assert capsys.readouterr().err == f"no serving record in {tmp_path}\n"


def test_rows_of_older_records_have_no_prompt_tokens(run: Path) -> None:
    requests = pd.read_parquet(run / "requests.parquet").drop(columns=["prompt_tokens", "tokens_estimated"])
    content = formats.written("vllm", record.read(run), 0, requests, True)
    assert content["total_input_tokens"] is None
    assert content["total_token_throughput"] is None
    assert set(content["input_lens"]) == {None}
